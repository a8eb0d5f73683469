"""Forward and reverse KL, each as much as head and tail of the teacher are still missed.

    L = w KL(teacher || student) + (1 - w) KL(student || teacher),   w = g_head / (g_head + g_tail)
    g = sum of |teacher - student| over the head or the tail

The head are the teacher's likeliest entries, of together at most a share of its probability, and always the first.
Of whole distributions: the teacher's entries are sorted, which the chunked head cannot do.

Source: Wu et al. 2024 (AKL, arXiv:2404.02657), and the authors' code.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import divergence, generator


def head_share(
    log_p: Float[Array, "*shape V"], log_q: Float[Array, "*shape V"], *, mass: float = 0.5
) -> Float[Array, "*shape"]:
    """w: 1/2 where both distributions are the same, which the authors' code divides by. No gradient flows.

    Args:
        log_p: log-probabilities of the student.
        log_q: those of the teacher.
        mass: of the teacher's probability that the head has at most (mu).
    """
    order = jnp.argsort(-log_q, axis=-1)
    q, p = (jnp.exp(jnp.take_along_axis(x, order, axis=-1)) for x in (log_q, log_p))
    head = (jnp.cumsum(q, axis=-1) <= mass).at[..., 0].set(True)
    gaps = jnp.abs(q - p)
    whole = jnp.sum(gaps, axis=-1)
    share = jnp.sum(jnp.where(head, gaps, 0), axis=-1) / jnp.where(whole > 0, whole, 1)
    return jax.lax.stop_gradient(jnp.where(whole > 0, share, 0.5))


def adaptive_kl(
    log_p: Float[Array, "*shape V"], log_q: Float[Array, "*shape V"], *, mass: float = 0.5
) -> Float[Array, "*shape"]:
    """The equation above, in nats.

    Args:
        log_p: log-probabilities of the student; only this is meant to be differentiated.
        log_q: those of the teacher.
        mass: as in `head_share`.
    """
    share = head_share(log_p, log_q, mass=mass)
    forward = divergence.exact(generator.ForwardKL(), log_p, log_q)
    return share * forward + (1 - share) * divergence.exact(generator.ReverseKL(), log_p, log_q)
