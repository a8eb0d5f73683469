"""Sinkhorn distance between batches of distributions (Cui et al. 2024, SinKD, arXiv:2402.17110).

    W_ac = sum_v |p_a - q_c|,   K = exp(-W / eps),   P = K with rows and columns scaled to sum to 1,   L = sum P W

It matches rows of students with rows of teachers, whichever: permuting either changes nothing, so that it stands beside
a divergence row by row and not in its place. The cost is quadratic in the rows: give it a few, not a batch of tokens.

Source: the authors' code (github.com/2018cx/SinKD, loss.py).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def distance(
    log_probs: Float[Array, "N V"], teacher_log_probs: Float[Array, "N V"], *, eps: float = 0.1, steps: int = 20
) -> Float[Array, ""]:
    """sum P W, differentiated through the iterations, which run on logarithms: exp(-2 / .1) underflows in float16.

    Divide by N for a mean. With N = 1 it is the L1 distance, twice the total variation.

    Args:
        log_probs: of the student, at the temperature of distillation (2 in the paper).
        teacher_log_probs: of the teacher, not differentiated.
        eps: weight of the entropy of P; large matches every row with every other, small one to one.
        steps: of row and column scaling.

    Raises:
        ValueError: eps or steps is not positive.
    """
    if not (eps > 0 and steps > 0):
        raise ValueError(f"eps={eps} and steps={steps} must be positive.")
    teacher = jax.lax.stop_gradient(jnp.exp(teacher_log_probs))
    costs = jnp.sum(jnp.abs(jnp.exp(log_probs)[:, None] - teacher[None]), axis=-1)

    def scale(_, plan: Float[Array, "N N"]) -> Float[Array, "N N"]:
        return jax.nn.log_softmax(jax.nn.log_softmax(plan, axis=1), axis=0)

    return jnp.sum(jnp.exp(jax.lax.fori_loop(0, steps, scale, -costs / eps)) * costs)
