"""Policy-gradient losses of single tokens (to be minimised), before they are weighted and summed."""

import jax
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


def dual_clipped(
    log_ratios: Float[Array, "P G T"],
    advantages: Float[Array, "P G T"],
    *,
    low: float | Float[Array, "P G T"],
    high: float | Float[Array, "P G T"],
    cap: float,
) -> Float[Array, "P G T"]:
    """`clipped`, and ratios beyond `cap` stop pushing for negative advantages too: -max(min(r A, clip(r) A), cap A).

    Where A >= 0 this is `clipped`. With cap = delta > 1 + high it is the two-sided clipping of INTELLECT-2.

    Args:
        log_ratios: log policy / old, in nats. Only this is differentiated.
        advantages: positive for tokens to make likelier.
        low: as in `clipped`.
        high: as in `clipped`.
        cap: the largest ratio of a token with negative advantage, above 1 + high (c = 3 or delta = 4).

    Source: Ye et al. 2019 (dual-clip PPO, arXiv:1912.09729); Prime Intellect 2025 (arXiv:2505.07291).
    """
    losses = clipped(log_ratios, advantages, low=low, high=high)
    return jnp.where(advantages < 0, jnp.minimum(losses, -cap * advantages), losses)


def weighted(
    logps: Float[Array, "P G T"], advantages: Float[Array, "P G T"], multipliers: Float[Array, "P G T"]
) -> Float[Array, "P G T"]:
    """-sg(kappa) A log pi(y_t): the gradient of `reinforce`, token by token multiplied by kappa.

    The gradient of every surrogate of this module has this form; here kappa is given instead of derived. Only `logps`
    is differentiated.
    """
    return -jax.lax.stop_gradient(multipliers) * advantages * logps


def capped(
    logps: Float[Array, "P G T"],
    log_ratios: Float[Array, "P G T"],
    advantages: Float[Array, "P G T"],
    *,
    floor: float = 0.0,
    cap: float,
) -> Float[Array, "P G T"]:
    """Capped importance weight: -sg(clip(r, floor, cap)) A log pi(y_t). No token ever loses its gradient.

    Args:
        logps: of the policy; only this is differentiated, the weight is not.
        log_ratios: log policy / old, in nats.
        advantages: positive for tokens to make likelier.
        floor: the smallest weight, an absolute ratio (0 in the paper).
        cap: the largest weight, an absolute ratio (verl names cap - 1, TRL the cap itself).

    Source: MiniMax 2025 (CISPO, arXiv:2506.13585).
    """
    return weighted(logps, advantages, jnp.clip(ratio.exp(log_ratios), floor, cap))


def soft_gated(
    log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"], *, positive: float, negative: float
) -> Float[Array, "P G T"]:
    """A smooth gate in the place of clipping: -(4 / tau) sigmoid(tau (r - 1)) A.

    At r = 1 its gradient is that of `reinforce`, its value -2 A / tau.

    Args:
        log_ratios: log policy / old, in nats. Only this is differentiated.
        advantages: positive for tokens to make likelier.
        positive: tau where A > 0; the larger, the narrower the gate.
        negative: tau where A <= 0.

    Source: Gao et al. 2025 (SAPO, arXiv:2511.20347).
    """
    tau = jnp.where(advantages > 0, positive, negative)
    return -4 / tau * jax.nn.sigmoid(tau * (ratio.exp(log_ratios) - 1)) * advantages


def tapered(
    logps: Float[Array, "P G T"], log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]
) -> Float[Array, "P G T"]:
    """Positive advantages unweighted, negative ones fading with the ratio: kappa = 1 where A > 0, else min(r, 1).

    Source: Le Roux et al. 2025 (TOPR, arXiv:2503.14286).
    """
    return weighted(logps, advantages, jnp.where(advantages > 0, 1, jnp.minimum(ratio.exp(log_ratios), 1)))


def gamma_shaped(
    log_ratios: Float[Array, "P G T"], *, power: float | Float[Array, "P G T"], rate: float | Float[Array, "P G T"]
) -> Float[Array, "P G T"]:
    """A multiplier for `weighted` that is 1 at ratio 1 and fades on both sides: r^power exp(rate (1 - r)).

    Its peak is at r = power / rate.

    Args:
        log_ratios: log policy / old, in nats, of completions (`ratio.sequence_sum`).
        power: how fast it vanishes towards ratio 0.
        rate: how fast it vanishes towards large ratios.

    Source: VESPO 2026 (arXiv:2602.10693), with the numbers of its defaults in TRL.
    """
    held = jnp.clip(log_ratios, -ratio.LIMIT, ratio.LIMIT)
    return jnp.exp(power * held - rate * jnp.expm1(held))


def boundary(log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """A bound of the importance weight that adds over samples: -(1 + l) A where A >= 0, -exp(l) A where A < 0.

    Its mean over the last axis is never below -exp(mean(l)) A: exp(x) >= 1 + x for the one sign, Jensen for the other.
    Equal to it, in value and gradient, where every l is 0.

    Source: Lin et al. 2025 (BGPO, arXiv:2510.11683).
    """
    return -jnp.where(advantages >= 0, 1 + log_ratios, ratio.exp(log_ratios)) * advantages


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
