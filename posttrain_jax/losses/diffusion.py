"""Log-likelihoods of masked diffusion models, as Monte Carlo samples of a bound."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked


def elbo(
    logps: Float[Array, "P G N L"], hidden: Bool[Array, "P G N L"], levels: Float[Array, "P G N"]
) -> Float[Array, "P G N"]:
    """One sample of the bound of log p(y) each: (1 / t) times the sum of log p(y_i | y_t) over the hidden tokens.

    Hide every token with probability t, t uniform in (0, 1): the mean is the bound. The samples of two models must
    share levels and hidden tokens for their difference to be a log-ratio.

    Args:
        logps: of the true tokens given the noised completion, in nats, for N samples of L tokens.
        hidden: the tokens that were hidden; none of prompt or padding.
        levels: t, held at 0.001 and above so that 1 / t cannot explode.

    Source: Nie et al. 2025 (LLaDA, arXiv:2502.09992), eq. 3.
    """
    return masked.total(logps, hidden, axis=-1) / jnp.maximum(levels, 1e-3)
