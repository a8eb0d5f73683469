"""Going on beyond one model, away from another: the same step on logits, on denoising predictions and on weights."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def beyond(ahead: PyTree, behind: PyTree, *, scale: float) -> PyTree:
    """ahead + scale (ahead - behind), leaf by leaf, computed in float32 and given back in the dtype of `ahead`.

    On logits or denoising predictions it is guidance away from a negative model (Self-NPO: scale = omega), which must
    stay near the positive one: of two independent predictions of variance 1 the variance is
    (scale + 1)^2 + scale^2. Adding a number to all logits of either changes no probability.

    On weights it is the momentum of accelerated preference optimisation (APO, not the anchored APO), an outer loop:

        pi_0 = hat_0 = ref;   hat_{t+1} = trained from pi_t, with pi_t as reference, on pairs collected with pi_t
        pi_{t+1} = beyond(hat_{t+1}, hat_t, scale=alpha);   the last hat is what is wanted

    It is exact where the policy is log-linear in its weights: log pi_{t+1} = log hat_{t+1} + alpha (log hat_{t+1} -
    log hat_t), normalised. alpha = 0 is iterative DPO; one round and one step is ExPO. The paper uses alpha = 0.3,
    three rounds, beta = 0.01, 0.1, 1. Momentum from pi_t instead of hat_t is worse. Keep both hats.

    Args:
        ahead: where to go on from.
        behind: what to go away from.
        scale: 0 stays.

    Source: He et al. 2024 (arXiv:2410.06293), eq. 3.7; Wang et al. 2025 (Self-NPO, arXiv:2505.11777).
    """

    def one(a: jax.Array, b: jax.Array) -> jax.Array:
        wide, other = a.astype(jnp.float32), b.astype(jnp.float32)
        return (wide + scale * (wide - other)).astype(a.dtype)

    return jax.tree.map(one, ahead, behind)
