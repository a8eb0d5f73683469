"""The completions of the canonical pair as two rows: the chosen one desirable, the rejected one not."""

import dataclasses

import canonical_pair
import jax
import jax.numpy as jnp

from posttrain_jax import types

MASK = canonical_pair.MASK.reshape(2, 1, 7)
GROUPS = canonical_pair.groups(MASK)
POLICY = canonical_pair.stats(canonical_pair.POLICY.logps.reshape(2, 1, 7))
REF = canonical_pair.REF.reshape(2, 1, 7)
DESIRABLE = jnp.array([1.0, 0.0])


def step(recipe, baseline, policy=POLICY):
    """Mean loss, and its gradient by the first token of each completion."""
    baselines = jnp.full(2, baseline)
    batch = types.LabelledBatch(MASK, jnp.full(2, 0.5), DESIRABLE > 0, baselines, REF)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps[:, 0, 0]


def emptied():
    """`GROUPS` whose second row only fills the batch up."""
    mask = MASK.at[1].set(False)
    return dataclasses.replace(GROUPS, completion_mask=mask, completion_lengths=mask.sum(-1))
