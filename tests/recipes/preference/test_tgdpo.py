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
GUIDE = {"guide_logps": jnp.array([[[2.0, -1.0], [1.0, -3.0]]])}


def run(recipe, columns=GUIDE):
    return step(recipe, columns, TWO, policy=POLICY, ref=ZERO)


def test_worked_pair():
    value, gradient = run(TGDPO())
    np.testing.assert_allclose(value, 0.594770, rtol=1e-6)
    slope = 0.1 / (1 + np.exp(0.2075))
    np.testing.assert_allclose(gradient, slope * np.array([[[-1.1, -0.95], [0.95, 1.15]]]), rtol=1e-5)


@pytest.mark.parametrize(("recipe", "guide"), [(TGDPO(guidance=0.0), REF + 3), (TGDPO(), REF)])
def test_without_guidance_or_with_the_reference_for_a_guide_it_is_dpo(recipe, guide):
    value, gradient = step(recipe, {"guide_logps": guide})
    expected, expected_gradient = plain_step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_no_weight_is_negative():
    batch = credit(TGDPO(), {"guide_logps": 30 * GUIDE["guide_logps"]}, TWO, ref=ZERO)
    np.testing.assert_allclose(batch.extra["weights"], [[[4.0, 0], [0, 5.5]]], rtol=1e-6)


def test_guidance_has_no_gradient():
    batch = credit(TGDPO(), GUIDE, TWO, ref=ZERO)
    gradient = jax.grad(lambda guide: jnp.sum(TGDPO().weights(guide, batch)))(GUIDE["guide_logps"])
    np.testing.assert_array_equal(gradient, 0)


def test_columns_may_be_wider_than_the_batch():
    wide = {"guide_logps": jnp.pad(GUIDE["guide_logps"], ((0, 0), (0, 0), (0, 3)))}
    np.testing.assert_allclose(run(TGDPO(), wide)[0], run(TGDPO())[0])
    with pytest.raises(ValueError, match="every token"):
        run(TGDPO(), {"guide_logps": GUIDE["guide_logps"][:, :, :1]})


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'guide_logps'"):
        run(TGDPO(), {})
    for wrong in ({"beta": 0.0}, {"guidance": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TGDPO(**wrong)
