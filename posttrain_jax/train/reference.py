"""The frozen reference, and the pass that scores given completions under fixed parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from posttrain_jax import types
from posttrain_jax.train import update


def copy(params: PyTree) -> PyTree:
    """The same parameters in memory of their own: an update gives away the memory of those that it is given."""
    return jax.tree.map(jnp.copy, params)


def make_score(model: update.Model, *, temperature: float = 1.0) -> Callable[..., types.TokenStats]:
    """`score(params, groups, kept_ids=None) -> TokenStats`, jitted: old, reference or teacher statistics of a batch.

    Args:
        temperature: what sampling divided the logits by; every role is scored at the same.
    """

    def score(params, groups, kept_ids=None):
        return model.token_stats(params, groups, temperature=temperature, kept_ids=kept_ids)

    return jax.jit(score, out_shardings=model.row_sharding)
