"""The completions of the canonical pair as two rows: the chosen one desirable, the rejected one not."""

import dataclasses

import canonical_pair
import jax
import jax.numpy as jnp

MASK = canonical_pair.MASK.reshape(2, 1, 7)
GROUPS = canonical_pair.groups(MASK)
POLICY = canonical_pair.stats(canonical_pair.POLICY.logps.reshape(2, 1, 7))
REF = canonical_pair.REF.reshape(2, 1, 7)
DESIRABLE = jnp.array([True, False])


def step(recipe, baseline, policy=POLICY, desirable=DESIRABLE):
    """Mean loss, and its gradient by the first token of each completion."""
    batch = recipe.credit(GROUPS, REF, desirable=desirable, baseline=jnp.float32(baseline))
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps[:, 0, 0]


def without(field):
    """The arguments of `credit` without one of them."""
    given = {"ref_logps": REF, "desirable": DESIRABLE, "baseline": jnp.float32(0)}
    return given | {field: None}


def emptied():
    """`GROUPS` whose second row only fills the batch up."""
    mask = MASK.at[1].set(False)
    return dataclasses.replace(GROUPS, completion_mask=mask, completion_lengths=mask.sum(-1))
