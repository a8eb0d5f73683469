"""Advantages: rewards compared with the rewards of the same group, or of the batch.

A group is every completion of every row that carries the same id, so that large or ragged groups may span rows. NaN
rewards are left out of all statistics and get advantage 0. No gradient flows through any of these.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import masked
from posttrain_jax.losses import group


def group_centered(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Reward less its group's mean: A_i = r_i - mean(r).

    Exactly 0 where all rewards of the group are equal, and in groups of one.

    Source: Liu et al. 2025 (Dr. GRPO, arXiv:2503.20783), section 3.2.
    """
    return _center(rewards, group_ids)[0]


def group_zscore(
    rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, ddof: int = 1, eps: float = 1e-6
) -> Float[Array, "P G"]:
    """Reward in standard deviations from its group's mean: A_i = (r_i - mean(r)) / (std(r) + eps).

    Exactly 0 where all rewards of the group are equal, whatever `eps`, and in groups of one.

    Args:
        rewards: in any unit; NaN where scoring failed.
        group_ids: equal on the rows of one group.
        ddof: the variance is divided by count - ddof. 1 is what TRL and verl compute (torch.std); 0 is numpy's.
        eps: added to the standard deviation, outside the root (TRL 1e-4, verl 1e-6).

    Source: Shao et al. 2024 (GRPO, arXiv:2402.03300), section 4.1.2.
    """
    deviations, counts = _center(rewards, group_ids)
    variance = group.total(deviations * deviations, group_ids) / jnp.maximum(counts - ddof, 1)
    std = jnp.sqrt(variance)[:, None]
    return jnp.where(std > 0, deviations / jnp.where(std > 0, std + eps, 1), 0)


def leave_one_out(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Reward less the mean of the others: A_i = r_i - mean(r_j, j != i) = n / (n - 1) (r_i - mean(r)).

    0 in groups of one, where there are no others.

    Source: Kool et al. 2019; Ahmadian et al. 2024 (RLOO, arXiv:2402.14740).
    """
    deviations, counts = _center(rewards, group_ids)
    return deviations * (counts / jnp.maximum(counts - 1, 1))[:, None]


def length_weighted(
    rewards: Float[Array, "P G"], lengths: Int[Array, "P G"], group_ids: Int[Array, "P"]
) -> Float[Array, "P G"]:
    """Reward less the group's mean weighted by length: A_i = r_i - sum(n r) / sum(n), n in tokens.

    The baseline of least variance where the squared gradient of a completion grows like its length.

    Source: Hao et al. 2025 (OPO, arXiv:2505.23585).
    """
    excess = _excess(rewards, group_ids)
    counts = jnp.where(jnp.isnan(rewards), 0, lengths.astype(rewards.dtype))
    baseline = group.total(counts * excess, group_ids) / jnp.maximum(group.total(counts, group_ids), 1)
    return jnp.where(jnp.isnan(rewards), 0, excess - baseline[:, None])


def best_of_group(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """What each completion adds to the best of its group: A_i = max(r) - max(r_j, j != i).

    Only a single best completion has an advantage, of what it is better by than the second. Summed over a group, the
    expected gradient is exactly that of the expected best of G completions. 0 in groups of one.

    Source: Tang et al. 2025 (arXiv:2503.19595).
    """
    deviations, counts = _center(rewards, group_ids)
    values = jnp.where(jnp.isnan(rewards), -jnp.inf, deviations)
    best = values == group.maximum(values, group_ids)[:, None]
    single = (group.total(best.astype(rewards.dtype), group_ids) == 1) & (counts > 1)
    second = group.maximum(jnp.where(best, -jnp.inf, values), group_ids)[:, None]
    return jnp.where(best & single[:, None], deviations - jnp.where(single[:, None], second, 0), 0)


def over_reward_std(
    rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, ddof: int = 1, eps: float = 1e-4
) -> Float[Array, "P G"]:
    """Reward less its group's mean, over the spread of all rewards: A_i = (r_i - mean(r)) / (std(batch) + eps).

    Args:
        rewards: in any unit; NaN where scoring failed.
        group_ids: equal on the rows of one group.
        ddof: the variance of the batch is divided by count - ddof (TRL 1).
        eps: added to the standard deviation, outside the root (TRL 1e-4).

    Source: Liu et al. 2025 (Lite PPO, arXiv:2508.08221).
    """
    deviations, _ = _center(rewards, group_ids)
    return _scaled(deviations, jax.lax.stop_gradient(rewards), ~jnp.isnan(rewards), ddof=ddof, eps=eps)


def over_centered_std(
    rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, ddof: int = 0, eps: float = 1e-4
) -> Float[Array, "P G"]:
    """As `over_reward_std`, but the spread is of the centred rewards: how far apart the groups lie does not count.

    Source: Khatri et al. 2025 (ScaleRL, arXiv:2510.13786).
    """
    deviations, _ = _center(rewards, group_ids)
    return _scaled(deviations, deviations, ~jnp.isnan(rewards), ddof=ddof, eps=eps)


def sum_of_zscores(
    rewards: Float[Array, "P G K"], group_ids: Int[Array, "P"], *, weights: tuple[float, ...], eps: float = 1e-4
) -> Float[Array, "P G"]:
    """K rewards, each standardised within the group, weighted, summed, and the sum standardised over the batch.

    So a reward of small spread is heard as well as one of large spread. Standard deviations have ddof 1.

    Args:
        rewards: NaN where one does not apply, which then adds 0; completions for which none applies get 0.
        group_ids: equal on the rows of one group.
        weights: of the K rewards.
        eps: added to every standard deviation.

    Source: Liu et al. 2026 (GDPO, arXiv:2601.05242), in the order of TRL's `normalize_then_sum`.
    """
    scores = [w * group_zscore(rewards[:, :, k], group_ids, eps=eps) for k, w in enumerate(weights)]
    total, valid = jnp.sum(jnp.stack(scores), axis=0), ~jnp.all(jnp.isnan(rewards), axis=-1)
    deviations = jnp.where(valid, total - masked.mean(total, valid), 0)
    return _scaled(deviations, total, valid, ddof=1, eps=eps)


def contrast(
    scores: Float[Array, "P G"], rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, tau: float, above: float
) -> Float[Array, "P G"]:
    """Good completions against bad ones: 1 / |good| on the good, -softmax(scores / tau) over the bad of the group.

    What multiplies the gradients of the scores s in that of mean_good(s) - tau log mean_bad exp(s / tau). 0 in groups
    that have only one kind, and where the reward is NaN.

    Args:
        scores: of each completion.
        rewards: NaN where scoring failed.
        group_ids: equal on the rows of one group.
        tau: temperature, in the unit of the scores; infinite weighs all bad completions alike.
        above: rewards above this are good.

    Source: Li et al. 2025 (DisCO, arXiv:2505.12366).
    """
    scores, rewards = jax.lax.stop_gradient((scores, rewards))
    good, bad = rewards > above, rewards <= above
    goods, bads = (group.total(x.astype(scores.dtype), group_ids)[:, None] for x in (good, bad))
    highest = group.maximum(jnp.where(bad, scores, -jnp.inf), group_ids)[:, None]
    weights = jnp.where(bad, jnp.exp((scores - jnp.where(bads > 0, highest, 0)) / tau), 0)
    weights /= jnp.maximum(group.total(weights, group_ids), jnp.finfo(scores.dtype).tiny)[:, None]
    return jnp.where((goods > 0) & (bads > 0), jnp.where(good, 1 / jnp.maximum(goods, 1), -weights), 0)


def mixed(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Bool[Array, "P"]:
    """Whether the rewards of a row's group differ, so that it teaches something."""
    return group.maximum(jnp.abs(_center(rewards, group_ids)[0]), group_ids) > 0


def mixed_share(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, ""]:
    """Groups whose rewards differ, over all groups with a reward; 1 where there is no such group.

    Source: Chu et al. 2025 (GPG, arXiv:2504.02546): 1 / alpha.
    """
    scored = jnp.any(~jnp.isnan(rewards), axis=1)
    share = group.count(mixed(rewards, group_ids), group_ids) / jnp.maximum(group.count(scored, group_ids), 1)
    return jnp.where(share > 0, share, 1)


def whitened(
    advantages: Float[Array, "P G T"], mask: Bool[Array, "P G T"], *, ddof: int = 1, eps: float = 1e-8
) -> Float[Array, "P G T"]:
    """Advantages of single tokens with mean 0 and variance 1 over the batch: (A - mean(A)) / sqrt(var(A) + eps).

    Long completions weigh more, a token being counted once. Exactly 0 where all are equal.

    Args:
        advantages: one per token.
        mask: tokens that count; the others get 0.
        ddof: the variance is divided by count - ddof (verl 1).
        eps: added to the variance, inside the root (verl 1e-8).

    Source: Hu 2025 (REINFORCE++, arXiv:2501.03262).
    """
    lowest = jnp.min(jnp.where(mask, advantages, jnp.inf))
    excess = jnp.where(mask, advantages - lowest, 0)
    variance = masked.variance(excess, mask, ddof=ddof)
    root = jnp.sqrt(jnp.where(variance > 0, variance + eps, 1))
    return jax.lax.stop_gradient(jnp.where(mask, (excess - masked.mean(excess, mask)) / root, 0))


def per_token(advantages: Float[Array, "P G"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """The completion's advantage on each of its counted tokens, 0 elsewhere."""
    return jnp.where(mask, advantages[:, :, None], 0)


def _center(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> tuple[Float[Array, "P G"], Float[Array, "P"]]:
    """Deviations from the group's mean (0 for NaN), and how many rewards of each row's group count."""
    valid = ~jnp.isnan(rewards)
    counts = group.total(valid.astype(rewards.dtype), group_ids)
    excess = _excess(rewards, group_ids)
    mean = group.total(excess, group_ids) / jnp.maximum(counts, 1)
    return jnp.where(valid, excess - mean[:, None], 0), counts


def _excess(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Reward less the lowest of its group (0 for NaN).

    Measured so, equal rewards have a mean of exactly 0: no rounding is left over that dividing by a tiny standard
    deviation would blow up.
    """
    rewards = jax.lax.stop_gradient(rewards)
    valid = ~jnp.isnan(rewards)
    lowest = group.minimum(jnp.where(valid, rewards, jnp.inf), group_ids)[:, None]
    return jnp.where(valid, rewards - lowest, 0)


def _scaled(
    deviations: Float[Array, "P G"],
    spread_of: Float[Array, "P G"],
    valid: Bool[Array, "P G"],
    *,
    ddof: int,
    eps: float,
) -> Float[Array, "P G"]:
    """Deviations over the standard deviation of `spread_of` over the batch; 0 where that is 0."""
    std = jnp.sqrt(masked.variance(spread_of, valid, ddof=ddof))
    return jnp.where(std > 0, deviations / jnp.where(std > 0, std + eps, 1), 0)
