"""A policy that is the reference cannot tell a pair apart: the loss is log 2."""

import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import REF, stats
from lookups import step

from posttrain_jax.recipes.preference.gepo import GEPO
from posttrain_jax.recipes.preference.lcpo import LCPO
from posttrain_jax.recipes.preference.longpo import LongPO
from posttrain_jax.recipes.preference.smoothed_dpo import SmoothedDPO
from posttrain_jax.recipes.preference.t_reg import TREG
from posttrain_jax.recipes.preference.tgdpo import TGDPO

COLUMNS = {
    "winners": jnp.array([[1.0, 0.0]]),
    "short_prompt": jnp.array([[0.0]]),
    "scores": jnp.array([[1.0, 0.0]]),
    "better_prompt": jnp.zeros((1, 2, 1)),
    "worse_prompt": jnp.zeros((1, 2, 1)),
}
RECIPES = [GEPO(), LCPO(), LongPO(preference_coef=1.0, nll_coef=0.0), SmoothedDPO(), TREG(), TGDPO()]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: type(recipe).__name__)
def test_the_reference_itself_costs_ln_2(recipe):
    value, gradient = step(recipe, COLUMNS, policy=stats(REF), guide=REF - 0.5)
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert gradient[0, 0, 0] < 0 < gradient[0, 1, 0]
