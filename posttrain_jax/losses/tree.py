"""Completions that branched from one another while they were drawn, laid out by leaves.

Every completion is a leaf. `branches[..., d]` names the node that it passes at depth d, the root left out: two
completions of a group with equal names at a depth are one there. `edges[..., t]` is the depth of the node that token t
leads to. What belongs to a node stands on each of its leaves. No gradient flows through any of these.

Source: Li et al. 2025 (BranchGRPO, arXiv:2509.06040).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group

Prune = Callable[[Float[Array, "P G"], Int[Array, "P G D"], Int[Array, "P G T"], Int[Array, "P"]], Bool[Array, "P G T"]]
"""From rewards, branches, edges and group ids to the tokens that are kept: `Everything`, `Depths` or `Width`."""


def fuse(
    rewards: Float[Array, "P G"], branches: Int[Array, "P G D"], group_ids: Int[Array, "P"]
) -> Float[Array, "P G D"]:
    """The value of every node: the mean reward of the leaves below it; 0 where none was scored (NaN)."""
    values, scored = jnp.nan_to_num(jax.lax.stop_gradient(rewards)), ~jnp.isnan(rewards)
    means = [_mean(values, jnp.zeros_like(values), scored, nodes, group_ids) for nodes in _depths(branches)]
    return jnp.stack(means, axis=-1)


def fuse_by_likelihood(
    rewards: Float[Array, "P G"],
    logps: Float[Array, "P G D"],
    branches: Int[Array, "P G D"],
    group_ids: Int[Array, "P"],
) -> Float[Array, "P G D"]:
    """As `fuse`, inner nodes weighing their children by likelihood: sum_c softmax_c(log pi(edge to c)) value_c.

    Args:
        rewards: of the leaves; NaN where scoring failed.
        logps: of each edge, in nats, equal on the leaves that share it.
        branches: names of the nodes.
        group_ids: equal on the rows of one group.
    """
    logps, scored = jax.lax.stop_gradient(logps), ~jnp.isnan(rewards)
    values = [fuse(rewards, branches[..., -1:], group_ids)[..., 0]]
    counts = leaves(branches, scored, group_ids)
    for depth in range(branches.shape[-1] - 2, -1, -1):
        # A child stands on all of its leaves: each takes its share.
        odds = logps[..., depth + 1] - jnp.log(jnp.maximum(counts[..., depth + 1], 1))
        values.append(_mean(values[-1], odds, scored, branches[..., depth], group_ids))
    return jnp.stack(values[::-1], axis=-1)


def leaves(
    branches: Int[Array, "P G D"], counted: Bool[Array, "P G"], group_ids: Int[Array, "P"]
) -> Float[Array, "P G D"]:
    """How many counted leaves lie below each node."""
    ones = counted.astype(jnp.float32)
    return jnp.stack([_total(ones, nodes, group_ids) for nodes in _depths(branches)], axis=-1)


def depth_zscore(
    values: Float[Array, "P G D"],
    branches: Int[Array, "P G D"],
    counted: Bool[Array, "P G"],
    group_ids: Int[Array, "P"],
    *,
    eps: float = 1e-8,
) -> Float[Array, "P G D"]:
    """Values in standard deviations (ddof 1) from the mean of the nodes of the same depth and tree, each counted once.

    0 where a depth has one node, or a standard deviation below 1e-6.
    """
    counts = leaves(branches, counted, group_ids)
    shares = jnp.where(counted[:, :, None] & (counts > 0), 1 / jnp.maximum(counts, 1), 0)

    def one(value, share):
        nodes = group.total(share, group_ids)
        mean = group.total(share * value, group_ids) / jnp.maximum(nodes, 1)
        deviations = value - mean[:, None]
        variance = group.total(share * deviations**2, group_ids) / jnp.maximum(nodes - 1, 1)
        std = jnp.sqrt(variance)[:, None]
        spread = (std >= 1e-6) & (nodes > 1.5)[:, None] & (share > 0)
        return jnp.where(spread, deviations / jnp.where(spread, std + eps, 1), 0)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(values, shares)


def extremes(
    rewards: Float[Array, "P G"],
    nodes: Int[Array, "P G"],
    group_ids: Int[Array, "P"],
    *,
    best: float = 0.5,
    worst: float = 0.0,
) -> Bool[Array, "P G"]:
    """Width pruning: the leaves below each node with the best and the worst rewards, each a share of them.

    Args:
        rewards: of the leaves; NaN where scoring failed, which is never kept.
        nodes: where the leaves branched last, `branches[..., -2]`.
        group_ids: equal on the rows of one group.
        best: share to keep from the top, rounded down to whole leaves (1/2, or 1/4 with 1/4 from the bottom).
        worst: share to keep from the bottom, rounded likewise.
    """
    scored = ~jnp.isnan(rewards)
    ids = _node_ids(nodes, group_ids)
    ranks = group.rank(rewards.reshape(-1, 1), scored.reshape(-1, 1), ids).reshape(rewards.shape)
    counts = _total(scored.astype(jnp.float32), nodes, group_ids)
    return scored & ((ranks >= counts - jnp.floor(best * counts)) | (ranks < jnp.floor(worst * counts)))


@dataclasses.dataclass(frozen=True)
class Everything:
    """No pruning."""

    def __call__(self, rewards: Array, branches: Array, edges: Array, group_ids: Array) -> Bool[Array, "P G T"]:
        """All tokens."""
        return jnp.ones(edges.shape, bool)


@dataclasses.dataclass(frozen=True)
class Depths:
    """Depth pruning: tokens of some depths are not learned from."""

    left_out: tuple[int, ...]
    """The depths, 0 being that of the first tokens."""

    def __call__(self, rewards: Array, branches: Array, edges: Array, group_ids: Array) -> Bool[Array, "P G T"]:
        """Tokens of other depths."""
        left_out = jnp.zeros(edges.shape, bool)
        for depth in self.left_out:
            left_out |= edges == depth
        return ~left_out


@dataclasses.dataclass(frozen=True)
class Width:
    """Width pruning: behind the last split only the best and the worst leaves of each branch are learned from."""

    best: float = 0.5
    """Share of them kept from the top (the paper's second mode: 1/4)."""
    worst: float = 0.0
    """Share kept from the bottom (1/4)."""

    def __call__(self, rewards: Array, branches: Array, edges: Array, group_ids: Array) -> Bool[Array, "P G T"]:
        """Tokens before the last split, and those of the leaves kept."""
        above = branches[..., -2] if branches.shape[-1] > 1 else jnp.zeros_like(branches[..., -1])
        kept = extremes(rewards, above, group_ids, best=self.best, worst=self.worst)
        return (edges < branches.shape[-1] - 1) | kept[:, :, None]


def on_tokens(x: Float[Array, "P G D"], edges: Int[Array, "P G T"]) -> Float[Array, "P G T"]:
    """What belongs to a node, on the tokens that lead to it."""
    return jnp.take_along_axis(x, edges, axis=-1)


def _depths(branches: Int[Array, "P G D"]) -> list[Int[Array, "P G"]]:
    return [branches[..., depth] for depth in range(branches.shape[-1])]


def _node_ids(nodes: Int[Array, "P G"], group_ids: Int[Array, "P"]) -> Int[Array, "N"]:
    """For each leaf, the first leaf of the same node of the same group."""
    owners = jnp.broadcast_to(group_ids[:, None], nodes.shape).reshape(-1)
    names = nodes.reshape(-1)
    same = (owners[:, None] == owners[None, :]) & (names[:, None] == names[None, :])
    return jnp.argmax(same, axis=1)


def _total(x: Float[Array, "P G"], nodes: Int[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    return group.total(x.reshape(-1, 1), _node_ids(nodes, group_ids)).reshape(x.shape)


def _mean(
    values: Float[Array, "P G"],
    odds: Float[Array, "P G"],
    counted: Bool[Array, "P G"],
    nodes: Int[Array, "P G"],
    group_ids: Int[Array, "P"],
) -> Float[Array, "P G"]:
    """Mean over the counted leaves of each node, weighted by exp(odds)."""
    highest = group.maximum(jnp.where(counted, odds, -jnp.inf).reshape(-1, 1), _node_ids(nodes, group_ids))
    highest = jnp.where(jnp.isfinite(highest), highest, 0).reshape(values.shape)
    weights = jnp.where(counted, jnp.exp(odds - highest), 0)
    sums = _total(weights, nodes, group_ids)
    return _total(weights * values, nodes, group_ids) / jnp.where(sums > 0, sums, 1)
