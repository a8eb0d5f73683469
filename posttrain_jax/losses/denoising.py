"""Denoising errors of diffusion models, and how preference recipes read them.

The log-likelihood of an image is bounded by minus its denoising error, so a preference recipe takes errors as it takes
log-probabilities: one image is a completion of one token. With DPO(beta=5000) below it is Diffusion-DPO:

    policy = denoising.token_stats(errors)                         # [P, 2]: chosen, rejected; of one noise and time
    ref_logps = denoising.token_stats(ref_errors).logps
    batch = types.PreferenceBatch(ref_logps < 1, jnp.full(P, 1 / P), ref_logps)
    loss, metrics = DPO(beta=5000).loss(policy, batch)

Source: Wallace et al. 2023 (Diffusion-DPO, arXiv:2311.12908); Lu et al. 2025 (SmPO, arXiv:2506.02698); Wang et al. 2025
(Self-NPO, arXiv:2505.11777), as in the authors' code.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types


def squared_error(predictions: Float[Array, "P K *image"], targets: Float[Array, "P K *image"]) -> Float[Array, "P K"]:
    """Mean of (prediction - target)^2 over an image. Targets are not differentiated."""
    return _mean((predictions - jax.lax.stop_gradient(targets)) ** 2)


def pseudo_huber_error(
    predictions: Float[Array, "P K *image"], targets: Float[Array, "P K *image"], *, width: float
) -> Float[Array, "P K"]:
    """Mean of sqrt(d^2 + c^2) - c over an image, d = prediction - target. Targets are not differentiated.

    Args:
        predictions: of the model.
        targets: in the same unit.
        width: c, where squares turn into absolute values.
    """
    difference = predictions - jax.lax.stop_gradient(targets)
    return _mean(jnp.sqrt(difference**2 + width**2) - width)


def token_stats(errors: Float[Array, "P K"]) -> types.TokenStats:
    """Minus half the error as the log-probability of one token. The half is that of Diffusion-DPO's code."""
    return types.TokenStats(logps=-errors[:, :, None] / 2, entropy=jnp.zeros((*errors.shape, 1)))


def noised_further(
    images: Float[Array, "P *image"],
    noise: Float[Array, "P *image"],
    now: tuple[Float[Array, "P"], Float[Array, "P"]],
    then: tuple[Float[Array, "P"], Float[Array, "P"]],
) -> Float[Array, "P *image"]:
    """From alpha_s x_0 + sigma_s e to the marginal of a noisier time t.

        x_t = alpha_t (x_s / alpha_s + sqrt((sigma_t / alpha_t)^2 - (sigma_s / alpha_s)^2) e')

    Self-NPO's states: its own samples, denoised part of the way, noised again. The model then learns (by
    `squared_error` or `pseudo_huber_error`, all images alike) to predict, given the prompt, what its moving average
    predicts at x_s; in the authors' code without the prompt (their guidance weight is -1). The weaker model so made
    is the negative one of `extrapolation.beyond`, in the place of the unconditional prediction.

    Args:
        images: x_s.
        noise: e', of variance 1.
        now: alpha_s and sigma_s.
        then: alpha_t and sigma_t, of a ratio sigma / alpha not below that of `now`.
    """
    (alpha, sigma), (new_alpha, new_sigma) = (tuple(_as(x, images) for x in pair) for pair in (now, then))
    added = jnp.maximum((new_sigma / new_alpha) ** 2 - (sigma / alpha) ** 2, 0)
    return new_alpha * (images / alpha + jnp.sqrt(added) * noise)


def _mean(x: Float[Array, "P K *image"]) -> Float[Array, "P K"]:
    return jnp.mean(x, axis=tuple(range(2, x.ndim)))


def _as(x: Float[Array, "P"], images: Float[Array, "P *image"]) -> Float[Array, "..."]:
    return jnp.broadcast_to(x.reshape(-1, *[1] * (images.ndim - 1)), images.shape)
