import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import REF, groups, stats
from canonical_pair import step as plain_step
from lookups import credit, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.tgdpo import TGDPO

TWO = groups(jnp.ones((1, 2, 2), bool))
ZERO = jnp.zeros((1, 2, 2))
POLICY = stats(jnp.array([[[0.5, 0.5], [-0.5, -0.5]]]))
GUIDE = jnp.array([[[2.0, -1.0], [1.0, -3.0]]])


def run(recipe, **fixed):
    return step(recipe, {}, TWO, policy=POLICY, ref=ZERO, **fixed)


def test_worked_pair():
    value, gradient = run(TGDPO(), guide=GUIDE)
    np.testing.assert_allclose(value, 0.594770, rtol=1e-6)
    slope = 0.1 / (1 + np.exp(0.2075))
    np.testing.assert_allclose(gradient, slope * np.array([[[-1.1, -0.95], [0.95, 1.15]]]), rtol=1e-5)


@pytest.mark.parametrize(("recipe", "guide"), [(TGDPO(guidance=0.0), REF + 3), (TGDPO(), REF)])
def test_without_guidance_or_with_the_reference_for_a_guide_it_is_dpo(recipe, guide):
    value, gradient = step(recipe, {}, guide=guide)
    expected, expected_gradient = plain_step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_no_weight_is_negative():
    batch = credit(TGDPO(), {}, TWO, ref=ZERO, guide=30 * GUIDE)
    np.testing.assert_allclose(batch.extra["weights"], [[[4.0, 0], [0, 5.5]]], rtol=1e-6)


def test_guidance_has_no_gradient():
    gradient = jax.grad(lambda guide: run(TGDPO(), guide=guide)[0])(GUIDE)
    np.testing.assert_array_equal(gradient, 0)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="TGDPO asks the model 'guide'"):
        run(TGDPO())
    for wrong in ({"beta": 0.0}, {"guidance": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TGDPO(**wrong)
