"""How `c_morl` trains a table on several rewards: recipes credit sampled groups as the online loop credits rollouts.

Nobody tells them the rewards of what was not drawn.
"""

import dataclasses
import functools
from typing import Any

import enumerable
import jax
import jax.numpy as jnp
import objectives
import optax
from jaxtyping import Array, Float, Key

from posttrain_jax import types


@functools.partial(jax.jit, static_argnames=("recipe", "steps", "rows", "group"))
def train(
    recipe: Any,
    weights: Float[Array, "K"],
    start: Float[Array, "X Y"],
    rewards: objectives.Rewards,
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

    def step(carry: Any, key: Array) -> tuple[Any, None]:
        logits, moments, memory = carry
        gradient, memory = jax.grad(loss, has_aux=True)(logits, memory, key)
        change, moments = adam.update(gradient, moments)
        return (optax.apply_updates(logits, change), moments, memory), None

    memory = recipe.init_memory() if informed else ()
    end: Any = jax.lax.scan(step, (start, adam.init(start), memory), jax.random.split(key, steps))[0]
    return end[0]
