"""Responses that can be listed and have several rewards each: what `c_morl` trains tables on, and its true front.

Recipes credit sampled groups as the online loop credits rollouts; nobody tells them the rewards of what was not drawn.
"""

import dataclasses
import functools
from typing import Any

import enumerable
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from posttrain_jax import types
from posttrain_jax.losses import tilting

Rewards = Float[Array, "X Y K"]


def rewards_of(key: Key[Array, ""], prompts: int, responses: int) -> Rewards:
    """Two objectives at odds: what is good in one is, mostly, less good in the other. Between 0 and 1."""
    angle, size = jax.random.uniform(key, (2, prompts, responses))
    angle, size = angle * jnp.pi / 2, 0.4 + 0.6 * size
    return size[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def means(logits: Float[Array, "*n X Y"], rewards: Rewards) -> Float[Array, "*n K"]:
    """J: each objective on average over prompts, exactly."""
    return jnp.einsum("...xy,xyk->...k", jax.nn.softmax(logits), rewards, precision="highest") / rewards.shape[0]


def true_front(rewards: Rewards, kl_coef: float, count: int = 201) -> Float[Array, "count K"]:
    """J of the policies that are best for weights (w, 1 - w) of the two: less `kl_coef` KL from even ones, or without.

    Without, they are the corners of the front, which is straight between two of them.
    """
    shares = jnp.linspace(0, 1, count)[:, None, None]
    worth = shares * rewards[..., 0][None] + (1 - shares) * rewards[..., 1][None]
    even = jnp.full(worth.shape[1:], -jnp.log(worth.shape[-1]))
    first, second = means(jax.vmap(lambda r: tilting.tilted(even, r, max(kl_coef, 1e-4)))(worth), rewards).T
    between = jnp.linspace(first[0], first[-1], count)
    return jnp.stack([between, jnp.interp(between, first, second)], axis=1)


@functools.partial(jax.jit, static_argnames=("recipe", "steps", "rows", "group"))
def train(
    recipe: Any,
    weights: Float[Array, "K"],
    start: Float[Array, "X Y"],
    rewards: Rewards,
    key: Key[Array, ""],
    *,
    steps: int,
    rows: int = 64,
    group: int = 8,
) -> Float[Array, "X Y"]:
    """Logits after `steps` of Adam on the recipe's loss; its reference is even, its reward the weighted sum."""
    adam, even = optax.adam(0.03), jnp.zeros_like(start)
    informed = isinstance(recipe, types.InformedOnline)

    def loss(logits: Array, memory: Any, key: Array) -> tuple[Array, Any]:
        policy, keys = jax.nn.log_softmax(logits), jax.random.split(key)
        prompts = jax.random.randint(keys[0], (rows,), 0, len(start))
        drawn = jax.random.categorical(keys[1], policy[prompts][:, None], shape=(rows, group))
        groups = dataclasses.replace(enumerable.groups_of(prompts, drawn), group_ids=jnp.arange(rows))
        said, ref = (functools.partial(enumerable.stats, jax.nn.log_softmax(x)) for x in (logits, even))
        rollout = types.Rollout(groups, jax.lax.stop_gradient(said(groups)), jnp.zeros(drawn.shape, bool))
        each = rewards[prompts[:, None], drawn]
        columns = {str(k): each[..., k] for k in range(each.shape[-1])}
        given = rollout, jnp.einsum("pgk,k->pg", each, weights, precision="highest")
        if informed:
            batch, memory = recipe.credit(*given, columns, types.Lookup(said, lambda x, _: ref(x), key), memory)
        else:
            batch = recipe.credit(*given, ref(groups).logps)
        return recipe.loss(said(groups), batch)[0], jax.lax.stop_gradient(memory)

    def step(carry, key):
        logits, moments, memory = carry
        gradient, memory = jax.grad(loss, has_aux=True)(logits, memory, key)
        change, moments = adam.update(gradient, moments)
        return (optax.apply_updates(logits, change), moments, memory), None

    memory = recipe.init_memory() if informed else ()
    return jax.lax.scan(step, (start, adam.init(start), memory), jax.random.split(key, steps))[0][0]
