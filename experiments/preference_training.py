"""How `preference_frontier` trains a table on what judges said, from the reference on."""

import dataclasses
import functools
from typing import Any

import enumerable
import jax
import jax.numpy as jnp
import optax
import preference_rows
from jaxtyping import Array
from preference_rows import Rows
from preference_setting import Setting

from posttrain_jax import comparison, types

Params = dict[str, Array]


def loss(params: Params, setting: Setting, fixed: Params, rows: Rows, memory: Any, key: Array) -> tuple[Array, Any]:
    """The recipe's loss of the rows, credited under the policy as it is, and what it remembers."""
    recipe, policy, (groups, columns) = setting.recipe, jax.nn.log_softmax(params["logits"]), setting.told(rows)
    tables = fixed | {"policy": jax.lax.stop_gradient(policy)}
    models = {role: functools.partial(enumerable.ask, table, tables) for role, table in tables.items()}
    # all units say the same: masks of activations are 1, as of any response of one token
    lookup = types.Lookup(
        models["policy"],
        models["ref"],
        key,
        models,
        activations=lambda asked: {"none": jnp.zeros(asked.completions.shape)},
    )
    if isinstance(recipe, types.InformedOffline):
        batch, memory = recipe.credit(groups, columns, lookup, memory)
    else:
        batch = recipe.credit(groups, lookup.ref(groups).logps if recipe.needs_ref else None)
    wanted = setting.recipe.comparisons(batch) if isinstance(setting.recipe, comparison.Comparing) else None
    stats = enumerable.ask(policy, tables, groups, None, wanted)
    masks = jnp.broadcast_to(jax.nn.relu(params["masks"])[:, groups.prompts[:, 0], None, None], (2, *stats.logps.shape))
    stats = dataclasses.replace(stats, masks={"reward": masks[0], "kl": masks[1]})
    return recipe.loss(stats, batch)[0], memory


def train(
    setting: Setting, given: enumerable.Problem, data: Rows, key: Array, *, steps: int, rows: int, rate: float
) -> Array:
    """Logits [steps, X, Y] on the way from the reference, by Adam on random rows of the data."""
    # drawn apart: no setting compiles it anew
    places = jax.random.randint(key, (steps, rows), 0, len(data["prompts"]))
    return _train(setting, given, preference_rows.known(given, data), places, jax.random.split(key, steps), rate=rate)


@functools.partial(jax.jit, static_argnames=("setting", "rate"))
def _train(setting: Setting, given: enumerable.Problem, data: Rows, places: Array, keys: Array, rate: float) -> Array:
    """Beside the logits SparsePO learns two masks of each prompt: a table knows no more before a response."""
    adam, recipe, start = optax.adam(rate), setting.recipe, given.ref_log_probs
    fixed = {"ref": preference_rows.asked(given)}
    if setting.guide is not None:
        fixed["guide"] = jax.nn.log_softmax(_train(setting.guide, given, data, places, keys, rate)[-1])

    def step(carry, drawn):
        (params, moments, memory), (places, key) = carry, drawn
        batch = jax.tree.map(lambda x: x[places], data)
        gradient, memory = jax.grad(loss, has_aux=True)(params, setting, fixed, batch, memory, key)
        change, moments = adam.update(gradient, moments)
        return (optax.apply_updates(params, change), moments, memory), params["logits"]

    memory = recipe.init_memory() if isinstance(recipe, types.InformedOffline) else ()
    params = {"logits": start, "masks": jnp.ones((2, len(start)))}
    return jax.lax.scan(step, (params, adam.init(params), memory), (places, keys))[1]
