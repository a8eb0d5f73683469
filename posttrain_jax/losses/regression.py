"""Regression of how far completions have moved on how good they are, within groups."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group


def standardized(
    x: Float[Array, "P G"], counted: Bool[Array, "P G"], group_ids: Int[Array, "P"], *, eps: float
) -> Float[Array, "P G"]:
    """(x - mean(x)) / (std(x) + eps) within the group (ddof 0), differentiable; 0 where not counted.

    Where all are equal the gradient is that of (x - mean(x)) / eps.
    """
    among = counted.astype(x.dtype)
    counts = jnp.maximum(group.total(among, group_ids), 1)
    deviations = among * (x - (group.total(among * x, group_ids) / counts)[:, None])
    variance = group.total(deviations**2, group_ids) / counts
    std = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)[:, None]
    return deviations / jnp.maximum(std + eps, jnp.finfo(x.dtype).tiny)


def squared_error(
    scores: Float[Array, "P G"],
    targets: Float[Array, "P G"],
    counted: Bool[Array, "P G"],
    group_ids: Int[Array, "P"],
    *,
    eps: float,
) -> Float[Array, ""]:
    """Mean over the counted completions of (target - standardised score)^2; only the scores are differentiated.

    With standardised targets and eps 0 it is 2 (1 - correlation): shift and positive scale of the scores do not matter.

    Source: Park et al. 2025 (Reg-GRPO, arXiv:2506.07464), eq. 8.
    """
    among = counted.astype(scores.dtype)
    errors = jax.lax.stop_gradient(targets) - standardized(scores, counted, group_ids, eps=eps)
    return jnp.sum(among * errors**2) / jnp.maximum(jnp.sum(among), 1)
