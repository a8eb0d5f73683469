"""Demonstrations of responses that can be listed, by an expert whose reward nobody tells: what `dr_irl` learns from.

Every prompt is of one of two kinds, and the expert wants something else of each: its policy is the even one tilted by a
reward that is linear in features of the response.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from posttrain_jax import pytree
from posttrain_jax.losses import tilting

WIDTH = 4
"""Of the features."""


@pytree.struct
class Task:
    """X prompts, Y responses, D demonstrations of each prompt."""

    features: Float[Array, "X Y F"]
    kinds: Int[Array, "X"]
    expert: Float[Array, "X Y"]
    """Its log-probabilities."""
    demonstrations: Int[Array, "X D"]


def task(key: Key[Array, ""], prompts: int, responses: int, count: int, beta: float) -> Task:
    """The expert's reward has features of length 1 and weights of length 1, other ones for each kind."""
    keys = jax.random.split(key, 3)
    unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    features = unit(jax.random.normal(keys[0], (prompts, responses, WIDTH)))
    kinds, wanted = jnp.arange(prompts) % 2, unit(jax.random.normal(keys[1], (2, WIDTH)))
    expert = tilting.tilted(even(features), jnp.einsum("xyf,xf->xy", features, wanted[kinds]), beta)
    drawn = jax.random.categorical(keys[2], expert[:, None], shape=(prompts, count))
    return Task(features, kinds, expert, drawn)


def even(features: Float[Array, "X Y F"]) -> Float[Array, "X Y"]:
    """Log-probabilities of the reference."""
    return jnp.full(features.shape[:2], -jnp.log(features.shape[1]))


def copied(given: Task) -> Float[Array, "X Y"]:
    """Log-probabilities of the demonstrations as often as they came, one more of each response: fine-tuning's."""
    counts = jnp.sum(jax.nn.one_hot(given.demonstrations, given.features.shape[1]), axis=1) + 1
    return jnp.log(counts / jnp.sum(counts, axis=1, keepdims=True))
