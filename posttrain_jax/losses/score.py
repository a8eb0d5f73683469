"""Scores of tokens whose mean over a completion says how much the policy favours it; only `logps` have a gradient."""

from collections.abc import Callable

from jaxtyping import Array, Float

from posttrain_jax.losses import ratio

Score = Callable[[Float[Array, "P G T"], Float[Array, "P G T"]], Float[Array, "P G T"]]
"""From log-probabilities and log-ratios to scores: `log_likelihood` or `likelihood_ratio`."""


def log_likelihood(logps: Float[Array, "P G T"], log_ratios: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """log pi(y_t): "log-L" of DisCO (Li et al. 2025, arXiv:2505.12366)."""
    return logps


def likelihood_ratio(logps: Float[Array, "P G T"], log_ratios: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """pi(y_t) / pi_old(y_t): "L-ratio" of DisCO (Li et al. 2025, arXiv:2505.12366)."""
    return ratio.exp(log_ratios)
