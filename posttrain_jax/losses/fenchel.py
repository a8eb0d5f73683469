"""The optimum under a divergence: how far a reward tilts the reference when D_f takes the place of the KL.

    max_pi E_pi[r] - c D_f(pi || ref)   has   pi = ref (f')^-1((r - V) / c),   V such that pi sums to 1

V is also the minimum's argument of the dual, min_V V + c E_ref[f*((r - V) / c)]. Generators whose f'(0) is finite leave
options out. All in the gauge f(1) = f'(1) = 0, in which V lies between the least and the largest reward.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import generator


def weights(
    divergence: generator.Generator,
    rewards: Float[Array, "*rows Y"],
    ref_log_probs: Float[Array, "*rows Y"],
    coef: float,
) -> tuple[Float[Array, "*rows Y"], Float[Array, "*rows"]]:
    """pi / ref of each option, and V; no gradient.

    Args:
        divergence: f.
        rewards: of the options.
        ref_log_probs: of the options; log(1 / G) each for a group of G samples, whose weights then average 1.
        coef: the weight c of the divergence, in reward per nat; positive.

    Raises:
        ValueError: the coefficient is not positive.
    """
    if not coef > 0:
        raise ValueError(f"coef={coef}: a reward is held back by a positive weight of the divergence only.")
    rewards, probs = jax.lax.stop_gradient((rewards, jnp.exp(ref_log_probs)))
    top = jnp.max(rewards, axis=-1)
    # f' stays below its supremum, so V stays above this
    low = jnp.maximum(jnp.min(rewards, axis=-1), top - coef * divergence.derivative_at_infinity)

    def tilt(value: Float[Array, "*rows"]) -> Float[Array, "*rows Y"]:
        return divergence.inverse((rewards - value[..., None]) / coef)

    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2
        above = jnp.sum(probs * tilt(middle), axis=-1) > 1
        return jnp.where(above, middle, ends[0]), jnp.where(above, ends[1], middle)

    value = jax.lax.fori_loop(0, 60, halve, (low, top))[1]
    return tilt(value), value


def optimum(
    divergence: generator.Generator,
    rewards: Float[Array, "*rows Y"],
    ref_log_probs: Float[Array, "*rows Y"],
    coef: float,
) -> Float[Array, "*rows Y"]:
    """Probabilities of the optimal policy, ref times `weights`."""
    return jnp.exp(ref_log_probs) * weights(divergence, rewards, ref_log_probs, coef)[0]
