"""A likelihood term beside a preference: the chosen completions are also learned by heart."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import types
from posttrain_jax.losses import likelihood


def mask(batch: types.PreferenceBatch) -> Bool[Array, "P K T"]:
    """The tokens of the chosen completions of the pairs that count: what `token_weights` are made from."""
    first = (jnp.arange(batch.completion_mask.shape[1]) == 0)[None, :, None]
    return batch.completion_mask & first & (batch.pair_weights > 0)[:, None, None]


def negative_log_likelihood(recipe: Any, policy: types.TokenStats, batch: types.PreferenceBatch) -> Float[Array, ""]:
    """-sum w log pi(y_t), w being the `token_weights` of the batch.

    Raises:
        ValueError: the batch has none.
    """
    if batch.token_weights is None:
        name = type(recipe).__name__
        raise ValueError(f"{name} learns the chosen completions by likelihood too: give the batch token_weights.")
    return jnp.sum(batch.token_weights * likelihood.negative_log_likelihood(policy.logps))
