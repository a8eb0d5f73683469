"""A given answer behind the policy's own thoughts: how likely each thought makes it, where thoughts make a difference.

Source: Xu et al. 2025 (DRO, arXiv:2506.13351), sections 4.1 and 4.2.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import types
from posttrain_jax.losses import group


def answered(
    groups: types.Groups, cuts: Int[Array, "P G"], lead: tuple[int, ...], answers: Int[Array, "P J"]
) -> types.Groups:
    """Each completion up to its cut, then the tokens `lead`, then the answer of its row, whose tokens alone count.

    Args:
        groups: the policy's completions.
        cuts: tokens of each that are kept.
        lead: what stands between thought and answer when the policy answers.
        answers: token ids, filled up with negative numbers.
    """
    count, size, length = groups.completions.shape
    width = length + len(lead) + answers.shape[-1]
    places = jnp.broadcast_to(jnp.arange(width)[None, None], (count, size, width))
    after = places - cuts[:, :, None]
    own = jnp.pad(groups.completions, ((0, 0), (0, 0), (0, width - length)))
    tail = jnp.concatenate([jnp.broadcast_to(jnp.asarray(lead, jnp.int32)[None], (count, len(lead))), answers], axis=-1)
    given = jnp.broadcast_to(tail[:, None], (count, size, tail.shape[-1])).astype(own.dtype)
    put = jnp.take_along_axis(given, jnp.clip(after, 0, tail.shape[-1] - 1), axis=-1)
    tokens = jnp.sum(answers >= 0, axis=-1)[:, None].astype(cuts.dtype)
    lengths = cuts + len(lead) + tokens
    inside = places < lengths[:, :, None]
    words = jnp.where(inside, jnp.where(after < 0, own, put), 0)
    return types.Groups(
        prompts=groups.prompts,
        prompt_lengths=groups.prompt_lengths,
        completions=words,
        completion_lengths=lengths,
        completion_mask=inside & (after >= len(lead)),
        group_ids=groups.group_ids,
    )


def of_answer(logps: Float[Array, "P G L"], mask: Bool[Array, "P G L"], count: int) -> Float[Array, "P G J"]:
    """The log-probabilities of the masked tokens, from the first on; 0 behind the last."""
    begins = jnp.argmax(mask, axis=-1)[:, :, None]
    places = jnp.clip(begins + jnp.arange(count)[None, None], 0, mask.shape[-1] - 1)
    there = jnp.take_along_axis(mask, places, axis=-1) & (begins + jnp.arange(count)[None, None] < mask.shape[-1])
    return jnp.where(there, jnp.take_along_axis(logps, places, axis=-1), 0)


def spread(logps: Float[Array, "P G J"], scored: Bool[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P J"]:
    """sigma_j: the population's standard deviation over the group of each answer token's log-probability."""
    counts = jnp.maximum(group.total(scored.astype(logps.dtype), group_ids), 1)[:, None]
    kept = jnp.where(scored[:, :, None], jax.lax.stop_gradient(logps), 0)
    over = jax.vmap(lambda x: group.total(x, group_ids), in_axes=-1, out_axes=-1)
    deviations = jnp.where(scored[:, :, None], kept - (over(kept) / counts)[:, None], 0)
    return jnp.sqrt(over(deviations**2) / counts)


def weights(sigmas: Float[Array, "P J"]) -> Float[Array, "P J"]:
    """w_j = sigma_j / sum sigma; 0 where all thoughts say the same. The paper wants any increasing function."""
    sums = jnp.sum(sigmas, axis=-1, keepdims=True)
    return jnp.where(sums > 0, sigmas / jnp.where(sums > 0, sums, 1), 0)


def certainty(
    logps: Float[Array, "P G J"], shares: Float[Array, "P J"], without: Float[Array, "P J"] | None = None
) -> Float[Array, "P G"]:
    """R3_i = sum_j w_j (log pi(y_j | thought i) - log pi(y_j | no thought)).

    Args:
        logps: of the answer behind each thought.
        shares: w_j.
        without: of the answer behind no thought; None leaves it out. It is the same for all of a group, so advantages
            that subtract the group's mean do not see it.
    """
    base = jnp.zeros_like(shares) if without is None else without
    return jnp.sum(shares[:, None] * (logps - base[:, None]), axis=-1)


def persistence(
    probs: Float[Array, "*shape"], distances: Float[Array, "*shape"], *, rate: float
) -> Float[Array, "*shape"]:
    """P_k(j) = p_k + (1 - p_k) (1 - exp(-g (j - k))): how far an unlikely answer token k still holds token j back.

    The paper's other form adds its logarithm over the earlier tokens that thoughts tell apart to log pi(y_j).

    Args:
        probs: p_k of the earlier token.
        distances: j - k, in tokens.
        rate: g.
    """
    return probs + (1 - probs) * -jnp.expm1(-rate * distances)


def same_length(own: Int[Array, "P G"], given: Int[Array, "P"], *, slope: float) -> Float[Array, "P G"]:
    """1 - slope | |y| - |y_own| | / |y|, lengths in tokens."""
    wanted = jnp.maximum(given, 1).astype(jnp.float32)[:, None]
    return 1 - slope * jnp.abs(own.astype(jnp.float32) - wanted) / wanted
