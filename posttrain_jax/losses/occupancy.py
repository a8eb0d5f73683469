"""Chi-squared divergence of whole completions, and what a proxy reward loses to it (Laidlaw et al. 2024).

Ratios are u = pi(y) / ref(y) of whole completions. chi2(pi || ref) = E_pi[u - 1] = E_ref[(u - 1)^2].

Source: Laidlaw, Singhal and Dragan 2024 (Correlated Proxies, arXiv:2403.03185).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def chi_squared(
    log_ratios: Float[Array, "P G"], counted: Bool[Array, "P G"], *, trim: float = 0.01
) -> Float[Array, ""]:
    """chi2(pi || ref) from completions of pi: the mean of u - 1 over the counted ones between two quantiles.

    Args:
        log_ratios: log u, in nats; hold them within a limit first, as u is of astronomical size.
        counted: which of them count.
        trim: share left out at either end.
    """
    excess = jnp.expm1(log_ratios)
    known = jnp.where(counted, excess, jnp.nan)
    low, high = jnp.nanquantile(known, trim), jnp.nanquantile(known, 1 - trim)
    kept = counted & (excess >= low) & (excess <= high)
    return jnp.sum(jnp.where(kept, excess, 0)) / jnp.maximum(jnp.sum(kept.astype(excess.dtype)), 1)


def penalty(log_ratios: Float[Array, "P G"], counted: Bool[Array, "P G"], *, trim: float = 0.01) -> Float[Array, "P G"]:
    """(u - 1) / sqrt(chi2): taken off the reward, it gives the gradient of sqrt(chi2(pi || ref)). No gradient.

    Where the estimate of chi2 is not above 0, u - 1 undivided.
    """
    log_ratios = jax.lax.stop_gradient(log_ratios)
    spread = chi_squared(log_ratios, counted, trim=trim)
    return jnp.expm1(log_ratios) / jnp.where(spread > 0, jnp.sqrt(jnp.where(spread > 0, spread, 1)), 1)


def coefficient(*, proxy_std: float, correlation: float) -> float:
    """The weight of sqrt(chi2) under which the bound below is maximised: proxy_std sqrt(1 - correlation^2).

    Args:
        proxy_std: of the proxy reward under the reference.
        correlation: of proxy and true reward under the reference, above 0 and at most 1.
    """
    if not 0 < correlation <= 1:
        raise ValueError(f"correlation={correlation}: a proxy must be correlated with the truth, above 0 and up to 1.")
    return proxy_std * math.sqrt(1 - correlation**2)


def true_gain_bound(
    proxy_gain: Float[Array, "*shape"], chi2: Float[Array, "*shape"], *, proxy_std: float, correlation: float
) -> Float[Array, "*shape"]:
    """The least that the true reward gains, in its own standard deviations under the reference.

        (1 / rho) [proxy_gain / proxy_std - sqrt((1 - rho^2) chi2)]

    Source: theorem 5.1 of the paper (recalled; it follows from regressing the proxy on the truth and Cauchy-Schwarz).
    """
    return (proxy_gain / proxy_std - jnp.sqrt((1 - correlation**2) * chi2)) / correlation
