"""How much learning one token moves the likelihood of others, to first order and through the output layer alone.

With logits W h, the gradient of log pi(y_k) with respect to W is e_k h_k^T, e_k = onehot(y_k) - pi(.|prefix). The
influence of token k on sum_i w_i log pi(y_i) is e_k^T M h_k with M = sum_i w_i e_i h_i^T `[V, D]`. The vocabulary goes
through in slices: neither M nor an array `[tokens, V]` exists at once, and nothing is quadratic in tokens.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, Int

from posttrain_jax import comparison
from posttrain_jax.models import head, sharding
from posttrain_jax.models.attention import MASKED


def of_tokens(
    logits: comparison.Logits,
    targets: Int[Array, "P G T"],
    sources: Float[Array, "P G T"],
    group_ids: Int[Array, "P"],
    layout: head.Layout,
    *,
    temperature: float,
) -> Float[Array, "P G T"]:
    """Influence of each token on the sum of `sources` times log-probabilities over its group; no gradient flows.

    Products have operands in the compute dtype and float32 sums. It takes about as long as five products of hidden
    states and head. A temperature other than 1 divides h: the factor 1 / temperature^2 of all influences is left out.

    Args:
        logits: of the model.
        targets: the tokens' ids.
        sources: weights of the log-probabilities, 0 where they do not count.
        group_ids: equal on the rows of one group.
        layout: how the work is cut; slices of the vocabulary are such that `chunk` rows of logits would be as large.
        temperature: divides the logits.

    Source: Deng et al. 2025 (NTHR, arXiv:2505.18830; THR, arXiv:2510.03669). Differs from them: the whole vocabulary
    counts, not only ids that occur in the group.
    """
    logits = lax.stop_gradient(logits)
    first = jnp.argmax(group_ids[:, None] == group_ids[None, :], axis=1)

    def island(hidden, weight, targets, sources, first):
        weight = sharding.gather_width(weight.astype(hidden.dtype), layout.rules, axis=0)
        hidden = sharding.varying(hidden.reshape(hidden.shape[0], -1, hidden.shape[-1]), "tensor")
        targets, weights = (sharding.varying(x.reshape(hidden.shape[:2]), "tensor") for x in (targets, sources))
        size = weight.shape[1]
        budget = layout.chunk * size // max(targets.size, hidden.shape[0] * hidden.shape[2])
        slices = functools.partial(_slice, hidden, weight, targets, temperature, max(1, min(budget, size)))
        found = _influences(slices, -(-size // max(1, min(budget, size))), hidden, weights, first)
        return found.reshape(sources.shape)

    rows = Spec(sharding.ROWS)
    specs = (rows, layout.rules.spec("head", stacked=False), rows, rows, Spec())
    cut = jax.shard_map(island, mesh=layout.mesh, in_specs=specs, out_specs=rows)
    return cut(logits.hidden, logits.weight, targets, lax.stop_gradient(sources), first)


def _slice(hidden, weight, targets, temperature: float, width: int, index: Int[Array, ""]):
    """Logits `[P, N, c]` of a slice of this device's vocabulary, and where the targets stand; each id in one slice."""
    start = jnp.minimum(index * width, weight.shape[1] - width)
    part = lax.dynamic_slice_in_dim(weight, start, width, axis=1)
    scores = jnp.dot(hidden, part, preferred_element_type=jnp.float32) / temperature
    own = start + lax.broadcasted_iota(jnp.int32, scores.shape, 2)
    fresh = own >= index * width  # the last slice begins earlier, so as to be whole
    ids = own + lax.axis_index("tensor") * weight.shape[1]
    return jnp.where(fresh, scores, MASKED), fresh & (ids == targets[..., None])


def _influences(slices, count: int, hidden: Float[Array, "P N D"], weights: Float[Array, "P N"], first):
    """Once through the slices for the normalisers, and once for the influences."""

    def norm(carry, index):
        top, total = carry
        scores, _ = slices(index)
        higher = jnp.maximum(top, scores.max(-1))
        return (higher, total * jnp.exp(top - higher) + jnp.exp(scores - higher[..., None]).sum(-1)), None

    def influence(total, index):
        scores, hit = slices(index)
        errors = hit.astype(jnp.float32) - jnp.exp(scores - log_norm[..., None])
        weighted = (weights[..., None] * errors).astype(hidden.dtype)
        moved = jnp.einsum("pnc,pnd->pcd", weighted, hidden, preferred_element_type=jnp.float32)
        moved = _over_groups(moved, first).astype(hidden.dtype)
        moves = jnp.einsum("pnd,pcd->pnc", hidden, moved, preferred_element_type=jnp.float32)
        return total + jnp.sum(errors * moves, axis=-1), None

    nothing = sharding.varying(jnp.zeros(weights.shape, jnp.float32), *sharding.AXES)
    (top, total), _ = lax.scan(norm, (nothing + MASKED, nothing), jnp.arange(count))
    highest = lax.pmax(top, "tensor")
    log_norm = highest + jnp.log(lax.psum(total * jnp.exp(top - highest), "tensor"))
    found, _ = lax.scan(influence, nothing, jnp.arange(count))
    return lax.psum(found, "tensor")


def _over_groups(moved: Float[Array, "p c D"], first: Int[Array, "P"]) -> Float[Array, "p c D"]:
    """Sums over the rows of each group, which are exchanged between devices only where a group has several."""
    rows = first.shape[0]

    def exchange(moved):
        whole = lax.all_gather(moved, sharding.ROWS, axis=0, tiled=True)
        whole = jax.ops.segment_sum(whole, first, num_segments=rows)[first]
        return lax.dynamic_slice_in_dim(whole, lax.axis_index(sharding.ROWS) * moved.shape[0], moved.shape[0])

    return lax.cond(jnp.any(first != jnp.arange(rows)), exchange, lambda moved: moved, moved)
