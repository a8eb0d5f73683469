"""Training of `policy_arena` where a selection plans on the host, between rollouts, what is asked and learned from."""

from typing import Any

import arena
import arena_ask
import arena_rollout
import digit_task
import jax
import jax.numpy as jnp
import numpy as np
import optax

from posttrain_jax import arrangement
from posttrain_jax.recipes import nested
from posttrain_jax.rollout import selection


def train(entry: arena_rollout.Entry, known, keys, rates, sizes: tuple[int, int, int]):
    """As `arena_train.train`; a run whose selection finds no batch any more stays where it is."""

    def draw(params, numbers, key, number):
        key = jax.random.fold_in(key, number)
        return arena_rollout.rollout(params, numbers, sizes[2], arrangement.ALONE, key)

    def learn(rate, state, found, columns, key):
        return arena.learn(entry, optax.adam(rate), known, state, found, columns, key)

    drawing, learning = (jax.jit(x, compiler_options=arena.QUICK) for x in (draw, jax.vmap(learn)))
    runs = [(rate, key) for rate in rates for key in keys]
    asks = [arena_ask.Ask(drawing, *sizes[1:], np.random.default_rng(i)) for i in range(len(runs))]
    first = known["ref"], optax.adam(1.0).init(known["ref"]), nested.init_memory(entry.recipe)
    state = jax.tree.map(lambda x: jnp.stack([x] * len(runs)), first)
    kept, spent, memories = [], [], [entry.selection.init_memory(len(digit_task.TRAIN)) for _ in runs]
    batches: list[Any] = [None for _ in runs]
    for number in range(1, sizes[0] + 1):
        step_keys = jax.vmap(jax.random.fold_in, (0, None))(jnp.stack([key for _, key in runs]), number)
        params, going = jax.device_get(state[0]), np.ones(len(runs), bool)
        for i, ask in enumerate(asks):
            ask.step, ask.round, ask.key = number, 0, step_keys[i]
            ask.params = jax.tree.map(lambda x, i=i: x[i], params)
            try:
                batches[i], memories[i] = entry.selection.collect(memories[i], ask)
            except selection.ExhaustedError:
                going[i] = False
        found = jax.tree.map(lambda *x: np.stack(x), *[(one.rollout, one.columns) for one in batches])
        after = learning(jnp.asarray([rate for rate, _ in runs]), state, *found, step_keys)
        places = np.where(going, np.arange(len(runs)), len(runs) + np.arange(len(runs)))
        state = jax.tree.map(lambda a, b, places=places: jnp.concatenate([a, b])[places], after, state)
        if number % 10 == 0:
            kept.append(state[0])
            spent.append([ask.tokens for ask in asks])
    shape = len(rates), len(keys), -1
    steps = jax.tree.map(lambda *x: jnp.stack(x, 1).reshape(*shape, *x[0].shape[1:]), *kept)
    return steps, np.diff(np.asarray(spent), axis=0, prepend=0).T.reshape(shape)
