"""Statistics over the True positions of a mask, defined (as 0) when nothing is left, in value and in gradient."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Axis = int | tuple[int, ...] | None


def total(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], axis: Axis = None) -> Float[Array, "..."]:
    """Sum where `mask` is True. What stands elsewhere, NaN included, reaches neither the sum nor the gradient."""
    return jnp.sum(jnp.where(mask, x, 0), axis=axis)


def mean(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], axis: Axis = None) -> Float[Array, "..."]:
    """Mean where `mask` is True; 0 where it is True nowhere."""
    return total(x, mask, axis) / jnp.maximum(jnp.sum(mask, axis=axis), 1).astype(x.dtype)


def variance(
    x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], axis: Axis = None, *, ddof: int = 0
) -> Float[Array, "..."]:
    """Two-pass variance where `mask` is True, divided by count - `ddof`; 0 where the count does not exceed `ddof`."""
    count = jnp.sum(mask, axis=axis, keepdims=True)
    center = jnp.sum(jnp.where(mask, x, 0), axis=axis, keepdims=True) / jnp.maximum(count, 1).astype(x.dtype)
    deviation = jnp.where(mask, x - jnp.broadcast_to(center, x.shape), 0)
    count = jnp.sum(mask, axis=axis)
    freedom = jnp.maximum(count - ddof, 1).astype(x.dtype)
    return jnp.where(count > ddof, jnp.sum(deviation * deviation, axis=axis) / freedom, 0)


def quantile(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], q: float) -> Float[Array, ""]:
    """Quantile `q` (between 0 and 1) where `mask` is True, linearly interpolated; infinite where it is True nowhere."""
    ordered = jnp.sort(jnp.where(mask, x, jnp.inf).reshape(-1))
    last = jnp.maximum(jnp.sum(mask) - 1, 0)
    at = q * last.astype(x.dtype)
    below = jnp.floor(at).astype(int)
    low, high = ordered[below], ordered[jnp.minimum(below + 1, last)]
    return jnp.where(high > low, low + (at - below.astype(x.dtype)) * (high - low), low)
