import numpy as np
import pytest
from canonical_pair import check, check_same, random_step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.nll_regularized_dpo import NLLRegularizedDPO
from posttrain_jax.recipes.preference.orpo import ORPO


def test_canonical_pair():
    check(NLLRegularizedDPO(beta=0.1, nll_coef=0.5), 0.598139 + 0.5 * 2)


def test_without_likelihood_it_is_dpo():
    check_same(NLLRegularizedDPO(nll_coef=0.0), DPO())


def test_the_likelihood_is_that_of_orpo():
    both, alone, nll = random_step(NLLRegularizedDPO()), random_step(DPO()), random_step(ORPO(odds_coef=0.0))
    for a, b, c in zip(both, alone, nll, strict=True):
        np.testing.assert_allclose(a - b, c, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"nll_coef": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NLLRegularizedDPO(**wrong)
