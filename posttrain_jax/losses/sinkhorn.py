"""Sinkhorn distance between batches of distributions (Cui et al. 2024, SinKD, arXiv:2402.17110).

    W_ac = sum_v |p_a - q_c|,   K = exp(-W / eps),   P = K with rows and columns scaled to sum to 1,   L = sum P W

It matches rows of students with rows of teachers, whichever: permuting either changes nothing, so that it stands beside
a divergence row by row and not in its place. The cost is quadratic in the rows: give it a few, not a batch of tokens.

Source: the authors' code (github.com/2018cx/SinKD, loss.py).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

NOTHING = -1e30
"""The logarithm of what is not to be transported."""


def distance(
    log_probs: Float[Array, "N V"], teacher_log_probs: Float[Array, "N V"], *, eps: float = 0.1, steps: int = 20
) -> Float[Array, ""]:
    """sum P W of whole distributions, differentiated through the iterations.

    Divide by N for a mean. With N = 1 it is the L1 distance, twice the total variation.

    Args:
        log_probs: of the student, at the temperature of distillation (2 in the paper).
        teacher_log_probs: of the teacher, not differentiated.
        eps: weight of the entropy of P; large matches every row with every other, small one to one.
        steps: of row and column scaling.

    Raises:
        ValueError: eps or steps is not positive.
    """
    teacher = jax.lax.stop_gradient(jnp.exp(teacher_log_probs))
    costs = jnp.sum(jnp.abs(jnp.exp(log_probs)[:, None] - teacher[None]), axis=-1)
    return transported(costs, jnp.ones(len(costs), bool), eps=eps, steps=steps)


def transported(
    costs: Float[Array, "N N"], counted: Bool[Array, "N"], *, eps: float = 0.1, steps: int = 20
) -> Float[Array, ""]:
    """sum P W of given costs, on logarithms: exp(-2 / .1) underflows in float16.

    Args:
        costs: W, student's rows by teacher's.
        counted: which rows and columns there are; nothing comes from or goes to the others.
        eps, steps: as of `distance`.

    Raises:
        ValueError: eps or steps is not positive.
    """
    if not (eps > 0 and steps > 0):
        raise ValueError(f"eps={eps} and steps={steps} must be positive.")
    there = counted[:, None] & counted[None]

    def scale(_, plan: Float[Array, "N N"]) -> Float[Array, "N N"]:
        plan = jnp.where(there, jax.nn.log_softmax(plan, axis=1), NOTHING)
        return jnp.where(there, jax.nn.log_softmax(plan, axis=0), NOTHING)

    plan = jax.lax.fori_loop(0, steps, scale, jnp.where(there, -costs / eps, NOTHING))
    return jnp.sum(jnp.where(there, jnp.exp(plan) * costs, 0))


def pick(
    key: Key[Array, ""], mask: Bool[Array, "P G T"], group_ids: Int[Array, "P"], count: int
) -> tuple[Int[Array, "P n"], Bool[Array, "P n"]]:
    """Places of `count` counted tokens of each row, drawn alike, and which of them are counted: rows may have fewer.

    What a row draws depends on the key and its group id, not on the rows and the padding beside it.
    """
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    keys = jax.vmap(fold, (0, None))(fold(key, group_ids.astype(jnp.uint32)), jnp.arange(mask.shape[1]))
    noise = jax.vmap(jax.vmap(lambda own: jax.random.uniform(own, mask.shape[2:])))(keys)
    flat = jnp.where(mask, noise, -1.0).reshape(len(mask), -1)
    drawn, places = jax.lax.top_k(flat, min(count, flat.shape[1]))
    return places, drawn >= 0
