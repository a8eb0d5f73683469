"""A game of one prompt with three responses that beat each other in a circle, and recipes that train tables on it.

A policy is a row of logits; recipes credit sampled groups as the loop's rollouts, and nobody tells them P but a judge.
"""

import dataclasses
import functools
from collections.abc import Mapping

import enumerable
import jax
import jax.numpy as jnp
from game_method import REF, Method, P
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.train import extragradient


def draw(method: Method, models: Mapping[str, Array], key: Array, rows: int, group: int) -> tuple[types.Rollout, dict]:
    """Groups of responses and what a judge and the loop say of them: half are the opponent's, if there is one."""
    own = jnp.zeros(3) if method.uniform else models["policy"]
    keys, half = jax.random.split(key), group // 2 if method.opponent else group
    drawn = jax.random.categorical(keys[0], own, shape=(rows, half))
    if method.opponent:
        mixed = jax.nn.log_softmax(sum(c * models[role] for role, c in method.opponent))
        drawn = jnp.concatenate([drawn, jax.random.categorical(keys[1], mixed, shape=(rows, half))], axis=1)
    groups = enumerable.groups_of(jnp.zeros(rows, int), drawn)
    groups = dataclasses.replace(groups, group_ids=jnp.arange(rows))
    said = enumerable.stats(jax.nn.log_softmax(own)[None], groups)
    rollout = types.Rollout(groups, said, jnp.zeros(drawn.shape, bool))
    columns = {"wins": P[drawn[:, :, None], drawn[:, None]]}
    theirs = {"opponent": jnp.broadcast_to(jnp.arange(group) >= half, drawn.shape).astype(jnp.float32)}
    return rollout, columns | (theirs if method.opponent else {})


def loss(logits: Array, method: Method, models: Mapping[str, Array], key: Array, rows: int, group: int) -> Array:
    """The recipe's, on groups drawn and credited under the policy as it is."""
    rollout, columns = draw(method, models, key, rows, group)
    rewards = jnp.mean(columns["wins"], axis=2)
    ask = {role: functools.partial(_say, table) for role, table in models.items()}
    if isinstance(method.recipe, types.InformedOnline):
        lookup = types.Lookup(ask["policy"], ask["ref"], key, ask)
        batch, _ = method.recipe.credit(rollout, rewards, columns, lookup, method.recipe.init_memory())
    else:
        batch = method.recipe.credit(rollout, rewards, ask["ref"](rollout.groups).logps)
    if method.updates > 1:
        batch = dataclasses.replace(batch, old_logps=rollout.sampler.logps)
    return method.recipe.loss(enumerable.stats(jax.nn.log_softmax(logits)[None], rollout.groups), batch)[0]


def _say(table: Array, groups: types.Groups, kept_ids: None = None) -> types.TokenStats:
    return enumerable.stats(jax.nn.log_softmax(table)[None], groups)


@functools.partial(jax.jit, static_argnames=("method", "steps", "rows", "group"))
def train(method: Method, key: Array, *, steps: int, rows: int, group: int) -> Float[Array, "steps Y"]:
    """Log-probabilities on the way from the reference."""
    optimizer = method.optimizer()

    def step(carry, given):
        logits, state, others = carry
        number, key = given
        ahead = {extragradient.AHEAD: extragradient.opponent(state, logits)} if method.looks_ahead else {}
        models = {"policy": logits, **others, **ahead}
        moved = logits
        for _ in range(method.updates):
            gradient = jax.grad(loss)(moved, method, models, key, rows, group)
            change, state = optimizer.update(gradient, state, moved)
            moved = moved + change
        for role, rule in method.versions:
            share = jnp.where((number + 1) % rule.every == 0, rule.share, 0)
            others = others | {role: (1 - share) * others[role] + share * moved}
        return (moved, state, others), jax.nn.log_softmax(logits)

    start = REF, optimizer.init(REF), {"ref": REF} | dict.fromkeys(dict(method.versions), REF)
    return jax.lax.scan(step, start, (jnp.arange(steps), jax.random.split(key, steps)))[1]
