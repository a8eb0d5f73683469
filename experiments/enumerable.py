"""Problems whose responses can all be listed, so that the optimum is known: what `preference_frontier` trains on.

A response is one token, a policy a table of logits; recipes take its log-probabilities as they take a language model's.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from posttrain_jax import comparison, pytree, types
from posttrain_jax.losses import divergence


@pytree.struct
class Problem:
    """A reference and the rewards that nobody tells: X prompts, Y responses."""

    ref_log_probs: Float[Array, "X Y"]
    rewards: Float[Array, "X Y"]


def problem(key: Key[Array, ""], prompts: int = 16, responses: int = 8) -> Problem:
    """Rewards and the reference's logits are standard normal."""
    logits, rewards = jax.random.normal(key, (2, prompts, responses))
    return Problem(jax.nn.log_softmax(logits), rewards)


def rankings(given: Problem, key: Key, count: int, noise: float | Float[Array, ""], size: int = 2) -> dict[str, Array]:
    """What the reference wrote, ranked by Plackett-Luce judges (of two: Bradley-Terry), reversed with odds `noise`."""
    keys = jax.random.split(key, 4)
    prompts = jax.random.randint(keys[0], (count,), 0, given.rewards.shape[0])
    noisy = given.ref_log_probs[prompts] + jax.random.gumbel(keys[1], (count, given.rewards.shape[1]))
    drawn = jax.lax.top_k(noisy, size)[1]
    rewards = jnp.take_along_axis(given.rewards[prompts], drawn, axis=1)
    order = jnp.argsort(-rewards - jax.random.gumbel(keys[2], rewards.shape), axis=1)
    order = jnp.where(jax.random.uniform(keys[3], (count, 1)) < noise, order[:, ::-1], order)
    responses, scores = (jnp.take_along_axis(x, order, axis=1) for x in (drawn, rewards))
    return {"prompts": prompts, "responses": responses, "scores": scores}


def groups_of(prompts: Int[Array, "P"], responses: Int[Array, "P G"]) -> types.Groups:
    """Rows of one-token prompts and completions."""
    ones = jnp.ones(responses.shape, int)
    return types.Groups(prompts[:, None], ones[:, 0], responses[..., None], ones, ones[..., None] > 0, prompts)


def stats(log_probs: Float[Array, "X Y"], groups: types.Groups) -> types.TokenStats:
    """What a table says of the responses."""
    return ask(log_probs, {}, groups)


def ask(
    log_probs: Float[Array, "X Y"],
    roles: Mapping[str, Array],
    groups: types.Groups,
    kept_ids: None = None,
    comparisons: Mapping[str, Any] | None = None,
) -> types.TokenStats:
    """The same, with exact divergences from the log-probabilities of `roles`: what a `Lookup` is asked."""
    prompts, shape = groups.prompts[:, 0], groups.completions.shape
    rows = log_probs[prompts]

    def spread(x: Any) -> Float[Array, "P G 1"]:
        return jnp.broadcast_to(jnp.sum(x, axis=-1)[:, None, None], shape)

    def differ(wanted: comparison.Comparison) -> Float[Array, "P G 1"]:
        other = sum(share * roles[role][prompts] for role, share in wanted.logits.items())
        found = divergence.exact(wanted.divergence, rows, jax.nn.log_softmax(other))
        return jnp.broadcast_to(found[:, None, None], shape)

    divergences = {name: differ(wanted) for name, wanted in (comparisons or {}).items()}
    logps = jnp.take_along_axis(rows, groups.completions[..., 0], axis=1)[..., None]
    return types.TokenStats(logps, spread(-jnp.exp(rows) * rows), divergences=divergences)
