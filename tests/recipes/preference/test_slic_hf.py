import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import MASK, check, spread, stats, step

from posttrain_jax.recipes.preference.slic_hf import SLiCHF


def test_canonical_pair():
    check(SLiCHF(margin=5.0, nll_coef=0.1), 2.0)


def test_only_the_likelihood_is_left_beyond_the_margin():
    _, gradient = step(SLiCHF(margin=5.0, nll_coef=0.1))
    np.testing.assert_allclose(gradient, jnp.where(MASK, jnp.array([[[-1.1], [1.0]]]), 0), rtol=1e-6)
    _, gradient = step(SLiCHF(margin=5.0, nll_coef=0.1), policy=stats(spread(-4.0, -14.0)))
    np.testing.assert_allclose(gradient, jnp.where(MASK, jnp.array([[[-0.1], [0.0]]]), 0), rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"margin": 0.0}, {"nll_coef": -0.1}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SLiCHF(**wrong)
