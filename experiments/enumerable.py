"""Problems whose responses can all be listed, so that the optimum is known: what `preference_frontier` trains on.

A response is one token, a policy a table of logits; recipes take its log-probabilities as they take a language model's.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from posttrain_jax import pytree, types


@pytree.struct
class Problem:
    """A reference and the rewards that nobody tells: X prompts, Y responses."""

    ref_log_probs: Float[Array, "X Y"]
    rewards: Float[Array, "X Y"]


def problem(key: Key[Array, ""], prompts: int = 16, responses: int = 8) -> Problem:
    """Rewards and the reference's logits are standard normal."""
    logits, rewards = jax.random.normal(key, (2, prompts, responses))
    return Problem(jax.nn.log_softmax(logits), rewards)


def pairs(given: Problem, key: Key[Array, ""], count: int, noise: float | Float[Array, ""]) -> dict[str, Array]:
    """Pairs that the reference wrote, ordered as Bradley-Terry judges do, and the wrong way round with odds `noise`."""
    keys = jax.random.split(key, 4)
    prompts = jax.random.randint(keys[0], (count,), 0, given.rewards.shape[0])
    noisy = given.ref_log_probs[prompts] + jax.random.gumbel(keys[1], (count, given.rewards.shape[1]))
    drawn = jax.random.permutation(keys[2], jax.lax.top_k(noisy, 2)[1], axis=1, independent=True)
    rewards = jnp.take_along_axis(given.rewards[prompts], drawn, axis=1)
    odds = noise + (1 - 2 * noise) * jax.nn.sigmoid(rewards[:, 0] - rewards[:, 1])
    right = jax.random.uniform(keys[3], (count,)) < odds
    order = jnp.where(right[:, None], jnp.array([[0, 1]]), jnp.array([[1, 0]]))
    responses, scores = (jnp.take_along_axis(x, order, axis=1) for x in (drawn, rewards))
    return {"prompts": prompts, "responses": responses, "scores": scores}


def stats(log_probs: Float[Array, "X Y"], groups: types.Groups) -> types.TokenStats:
    """What a table says of the responses."""
    rows = log_probs[groups.prompts[:, 0]]
    entropy = jnp.broadcast_to(-jnp.sum(jnp.exp(rows) * rows, axis=-1)[:, None, None], groups.completions.shape)
    return types.TokenStats(jnp.take_along_axis(rows, groups.completions[..., 0], axis=1)[..., None], entropy)


def groups_of(prompts: Int[Array, "P"], responses: Int[Array, "P G"]) -> types.Groups:
    """Rows of one-token prompts and completions."""
    ones = jnp.ones(responses.shape, int)
    return types.Groups(prompts[:, None], ones[:, 0], responses[..., None], ones, ones[..., None] > 0, prompts)


def loss(logits: Array, ref: Array, recipe: Any, rows: dict[str, Array], memory: Any, key: Array) -> tuple[Array, Any]:
    """The recipe's loss of the rows, credited under the policy as it is, and what it remembers."""
    policy, groups = jax.nn.log_softmax(logits), groups_of(rows["prompts"], rows["responses"])
    before = functools.partial(stats, jax.lax.stop_gradient(policy))
    if isinstance(recipe, types.InformedOffline):
        lookup = types.Lookup(before, functools.partial(stats, ref), key)
        batch, memory = recipe.credit(groups, {"scores": rows["scores"]}, lookup, memory)
    else:
        batch = recipe.credit(groups, stats(ref, groups).logps if recipe.needs_ref else None)
    return recipe.loss(stats(policy, groups), batch)[0], memory


@functools.partial(jax.jit, static_argnames=("recipe", "steps", "rows", "rate"))
def train(recipe: Any, given: Problem, data: dict, key: Array, *, steps: int, rows: int, rate: float) -> Array:
    """Logits [steps, X, Y] on the way from the reference, by Adam on random rows of the data."""
    adam, memory = optax.adam(rate), recipe.init_memory() if isinstance(recipe, types.InformedOffline) else ()

    def step(carry, key):
        logits, moments, memory = carry
        which = jax.random.randint(key, (rows,), 0, len(data["prompts"]))
        batch = jax.tree.map(lambda x: x[which], data)
        gradient, memory = jax.grad(loss, has_aux=True)(logits, given.ref_log_probs, recipe, batch, memory, key)
        change, moments = adam.update(gradient, moments)
        return (optax.apply_updates(logits, change), moments, memory), logits

    start = given.ref_log_probs
    return jax.lax.scan(step, (start, adam.init(start), memory), jax.random.split(key, steps))[1]
