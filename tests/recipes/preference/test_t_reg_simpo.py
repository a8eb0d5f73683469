import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY
from canonical_pair import step as plain_step
from lookups import lookup, step
from test_t_reg import COLUMNS, CONTRAST, REWARDS

from posttrain_jax.recipes.preference.simpo import SimPO
from posttrain_jax.recipes.preference.t_reg_simpo import TREGSimPO

WEIGHT = 1 / (1 + np.exp(-1.0))
"""sigmoid(-m) of the canonical pair, both of whose means are -2."""


def test_canonical_pair():
    value, gradient = step(TREGSimPO(), COLUMNS, by_prompt=CONTRAST)
    pushed = 2.0 * (0.122459 - 0.024979) * -2 * (1 / 5 + 1 / 7)
    np.testing.assert_allclose(value, 1.313262 - 0.25 * WEIGHT * pushed, rtol=1e-5)
    _, without = plain_step(SimPO())
    lengths = jnp.array([[[5.0], [7.0]]])
    np.testing.assert_allclose(gradient - without, -0.25 * WEIGHT * 2 * REWARDS / lengths, atol=1e-6)


@pytest.mark.parametrize(("recipe", "contrast"), [(TREGSimPO(regularization=0.0), CONTRAST), (TREGSimPO(), {})])
def test_without_regularization_or_with_equal_prompts_it_is_simpo(recipe, contrast):
    value, gradient = step(recipe, COLUMNS, by_prompt=contrast)
    expected, expected_gradient = plain_step(SimPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-8)


def test_the_pair_needs_no_reference():
    batch = TREGSimPO().credit(GROUPS, COLUMNS, lookup(by_prompt=CONTRAST), ())[0]
    assert batch.ref_logps is None
    assert np.isfinite(TREGSimPO().loss(POLICY, batch)[0])


def test_meaningless_numbers_are_refused():
    for wrong in ({"beta": 0.0}, {"target_margin": -1.0}, {"regularization": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TREGSimPO(**wrong)
