"""Policy-gradient losses of single tokens (to be minimised), before they are weighted and summed."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import ratio


def reinforce(logps: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """-A log pi(y_t): the score-function gradient, right for tokens that the policy itself has just sampled.

    Source: Williams 1992.
    """
    return -advantages * logps


def importance_weighted(log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """-r A with r = exp(log-ratio): the gradient of `reinforce`, corrected for tokens of an older policy.

    Source: Schulman et al. 2017 (PPO, arXiv:1707.06347), eq. 6.
    """
    return -ratio.exp(log_ratios) * advantages


def clipped(
    log_ratios: Float[Array, "P G T"],
    advantages: Float[Array, "P G T"],
    *,
    low: float | Float[Array, "P G T"],
    high: float | Float[Array, "P G T"],
) -> Float[Array, "P G T"]:
    """Clipped surrogate: -min(r A, clip(r, 1 - low, 1 + high) A) with r = exp(log-ratio).

    The gradient is 0 where the ratio has left the range in the direction of its advantage.

    Args:
        log_ratios: log policy / old, in nats. Only this is differentiated.
        advantages: positive for tokens to make likelier.
        low: how far below 1 the ratio may fall before a negative advantage stops pushing.
        high: how far above 1 it may rise before a positive one does.

    Source: Schulman et al. 2017 (PPO, arXiv:1707.06347), eq. 7; two bounds: Yu et al. 2025 (arXiv:2503.14476), eq. 10.
    """
    r = ratio.exp(log_ratios)
    return -jnp.minimum(r * advantages, jnp.clip(r, 1 - low, 1 + high) * advantages)


def clip_fraction(
    log_ratios: Float[Array, "P G T"],
    advantages: Float[Array, "P G T"],
    *,
    low: float | Float[Array, "P G T"],
    high: float | Float[Array, "P G T"],
) -> Float[Array, "P G T"]:
    """1 on the tokens whose gradient `clipped` cuts off, 0 elsewhere: to be averaged and reported."""
    r = ratio.exp(log_ratios)
    cut = ((advantages > 0) & (r > 1 + high)) | ((advantages < 0) & (r < 1 - low))
    return cut.astype(log_ratios.dtype)


def check_range(*, low: float, high: float) -> None:
    """Refuse clip ranges that mean nothing.

    Raises:
        ValueError: if `low` is not between 0 and 1 or `high` is not positive.
    """
    if not 0 < low < 1:
        raise ValueError(f"clip_low={low} lets the ratio fall to {1 - low}: choose it between 0 and 1.")
    if not high > 0:
        raise ValueError(f"clip_high={high} cuts every token off: choose it above 0.")
