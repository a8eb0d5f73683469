"""The model of `policy_arena` that rewards tokens in RTO."""

import dataclasses

import digit_policy
import digit_task
import jax
import jax.numpy as jnp
import optax

from posttrain_jax import DPO, arrangement


def prefer(key, start, steps):
    """By DPO from the start: of its own completions to each prompt a right one is preferred to a wrong one."""
    adam, recipe = optax.adam(0.03), DPO(beta=0.1)

    def step(carry, key):
        params, moments = carry
        keys = jax.random.split(key)
        numbers = jax.random.choice(keys[0], jnp.asarray(digit_task.TRAIN), (64,), False)
        drawn = digit_task.groups_of(numbers, digit_policy.sample(start, numbers, 8, arrangement.ALONE, keys[1]))
        right = digit_task.judged(drawn)[0]["right"]
        two = jnp.stack([jnp.argmax(right, axis=1), jnp.argmin(right, axis=1)], axis=1)
        groups = digit_task.groups_of(numbers, jnp.take_along_axis(drawn.completions, two[..., None], axis=1))
        differ = (right.max(1) > right.min(1)).astype(jnp.float32)
        batch = recipe.credit(groups, digit_policy.stats(start, groups).logps)
        batch = dataclasses.replace(batch, pair_weights=batch.pair_weights * differ)
        gradient = jax.grad(lambda p: recipe.loss(digit_policy.stats(p, groups), batch)[0])(params)
        change, moments = adam.update(gradient, moments)
        return (optax.apply_updates(params, change), moments), None

    return jax.lax.scan(step, (start, adam.init(start)), jax.random.split(key, steps))[0][0]
