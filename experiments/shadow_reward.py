"""The alternation of DR-IRL: rewards of demonstrations against own responses, and a policy that learns from them."""

import functools
from typing import Any

import demonstrated_task
import enumerable
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from posttrain_jax import RLOO, types
from posttrain_jax.recipes.policy import dr_irl


@functools.partial(jax.jit, static_argnames=("recipe", "shared", "steps", "group"))
def alternate(
    given: demonstrated_task.Task,
    recipe: RLOO | dr_irl.DRIRL,
    key: Key[Array, ""],
    *,
    shared: bool,
    steps: int,
    group: int = 32,
) -> Float[Array, "X Y"]:
    """Log-probabilities after `steps`, each one of the reward models and one of the policy.

    Reward step, of each kind: minimise r(own response) - r(demonstration) + |w|^2 / 200. Policy step: the recipe on
    that reward, all prompts at once. `shared`: one reward model serves both kinds.
    """
    kinds = jnp.zeros_like(given.kinds) if shared else given.kinds
    falling, start = optax.linear_schedule(0.03, 0.0, steps), demonstrated_task.even(given.features)
    reward_adam, adam = optax.adam(falling), optax.adam(falling)

    def of(weights: Array, chosen: Array) -> tuple[Array, Array]:
        """r of responses [X, n], and their features."""
        picked = jnp.take_along_axis(given.features, chosen[..., None], axis=1)
        return jnp.einsum("xnf,xf->xn", picked, weights[kinds], precision="highest"), picked

    def behind(weights: Array, drawn: Array) -> Array:
        gaps = jnp.mean(of(weights, drawn)[0]) - jnp.mean(of(weights, given.demonstrations)[0])
        return gaps + jnp.sum(weights**2) / 200

    def loss(logits: Array, drawn: Array, weights: Array, key: Array) -> Array:
        groups = enumerable.groups_of(jnp.arange(len(drawn)), drawn)
        said, ref = (functools.partial(enumerable.stats, jax.nn.log_softmax(x)) for x in (logits, start))
        rollout = types.Rollout(groups, jax.lax.stop_gradient(said(groups)), jnp.zeros(drawn.shape, bool))
        (rewards, own), (wanted, shown) = of(weights, drawn), of(weights, given.demonstrations)
        if isinstance(recipe, dr_irl.DRIRL):
            near = jnp.mean(jnp.einsum("xnf,xdf->xnd", own, shown), axis=2)
            gaps = jnp.mean(wanted, axis=1, keepdims=True) - rewards
            category = jnp.broadcast_to(kinds[:, None], drawn.shape).astype(jnp.float32)
            columns = {"similarity": near, "gap": gaps, "category": category}
            lookup = types.Lookup(said, lambda x, _: ref(x), key)
            batch, _ = recipe.credit(rollout, rewards, columns, lookup, ())
        else:
            batch = recipe.credit(rollout, rewards, ref(groups).logps)
        return recipe.loss(said(groups), batch)[0]

    def step(carry: Any, key: Array) -> tuple[Any, None]:
        logits, weights, moments, reward_moments = carry
        drawn = jax.random.categorical(key, logits[:, None], shape=(len(logits), group))
        change, reward_moments = reward_adam.update(jax.grad(behind)(weights, drawn), reward_moments)
        weights = optax.apply_updates(weights, change)
        change, moments = adam.update(jax.grad(loss)(logits, drawn, jax.lax.stop_gradient(weights), key), moments)
        return (optax.apply_updates(logits, change), weights, moments, reward_moments), None

    nothing = jnp.zeros((2, demonstrated_task.WIDTH))
    carry = start, nothing, adam.init(start), reward_adam.init(nothing)
    end: Any = jax.lax.scan(step, carry, jax.random.split(key, steps))[0]
    return jax.nn.log_softmax(end[0])
