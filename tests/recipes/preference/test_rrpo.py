import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import groups, lookup, stats

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.rrpo import RRPO

MASK = jnp.ones((1, 2, 3), bool)
REF = -jnp.ones((1, 2, 3))
POLICY = dataclasses.replace(
    stats(REF + jnp.array([[[0.4, 9.0, 0.2], [-0.3, -0.1, 9.0]]])),
    divergences={"kl": jnp.array([[[0.1, 0.1, 0.1], [9.0, 9.0, 9.0]]])},
)
DIFFERING = jnp.array([[[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]]])


def differentiate(recipe, differing):
    batch, _ = recipe.credit(groups(MASK), {"differing": differing}, lookup(POLICY.logps, REF), ())
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(POLICY)


def test_two_phrases_by_hand():
    loss, gradient = differentiate(RRPO(beta=0.5, kl_coef=0.05), DIFFERING)
    np.testing.assert_allclose(loss, 0.489077, rtol=2e-6)
    np.testing.assert_allclose(gradient.divergences["kl"], [[[0.05] * 3, [0.0] * 3]], rtol=1e-6)
    np.testing.assert_array_equal(gradient.logps[0] != 0, [[True, False, True], [True, True, False]])


def test_one_phrase_of_everything_is_dpo():
    loss, gradient = differentiate(RRPO(kl_coef=0.0), jnp.ones((1, 2, 3)))
    batch = DPO().credit(groups(MASK), REF)
    expected = jax.value_and_grad(lambda policy: DPO().loss(policy, batch)[0])(POLICY)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    np.testing.assert_allclose(gradient.logps, expected[1].logps, rtol=1e-6)


def test_no_differing_phrase_leaves_ln_2_and_the_divergence():
    loss, _ = differentiate(RRPO(kl_coef=0.05), jnp.zeros((1, 2, 3)))
    np.testing.assert_allclose(loss, np.log(2) + 0.05 * 0.3, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"kl_coef": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RRPO(**wrong)
