"""How many tool calls a right answer needs: rewards of thrift, and the fewest calls that were ever seen to do.

Source: Wang et al. 2025 (OTC, arXiv:2504.14870), eq. 5 to 7.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group


def thrift(calls: Float[Array, "*shape"], *, limit: float) -> Float[Array, "*shape"]:
    """cos(pi m / (2 m + c)): 1 without a call, falling towards 0.

    Args:
        calls: m.
        limit: c, the most calls that a completion can make.
    """
    return jnp.cos(jnp.pi * calls / (2 * calls + limit))


def nearness(calls: Float[Array, "*shape"], fewest: Float[Array, "*shape"], *, limit: float) -> Float[Array, "*shape"]:
    """sin(pi m / (m + n)): 1 at m = n, less with fewer and with more; `thrift` where n = 0.

    Args:
        calls: m.
        fewest: n, the fewest calls with which the prompt was answered rightly; infinite where it never was, for which
            the reward is 1.
        limit: c of `thrift`.
    """
    known = jnp.isfinite(fewest) & (fewest > 0)
    both = calls + jnp.where(known, fewest, 1)
    value = jnp.where(known, jnp.sin(jnp.pi * calls / both), thrift(calls, limit=limit))
    return jnp.where(jnp.isinf(fewest), 1, value)


def fewest(
    calls: Float[Array, "P G"], correct: Bool[Array, "P G"], group_ids: Int[Array, "P"], seen: Float[Array, "Q"]
) -> tuple[Float[Array, "P G"], Float[Array, "Q"]]:
    """The fewest calls of correct completions of each one's prompt, now or before, and of all prompts to remember.

    Args:
        calls: of each completion; NaN where they could not be counted.
        correct: which completions are.
        group_ids: of the prompts: places in `seen`; others have no memory.
        seen: infinite where no correct completion was seen.
    """
    now = group.minimum(jnp.where(correct & ~jnp.isnan(calls), calls, jnp.inf), group_ids)
    before = seen.at[group_ids].get(mode="fill", fill_value=jnp.inf, wrap_negative_indices=False)
    found = jnp.minimum(now, before)
    places = jnp.where(group_ids >= 0, group_ids, seen.shape[0])
    return jnp.broadcast_to(found[:, None], calls.shape), seen.at[places].min(found, mode="drop")
