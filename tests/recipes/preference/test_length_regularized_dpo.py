import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.length_regularized_dpo import LengthRegularizedDPO


def test_canonical_pair():
    check(LengthRegularizedDPO(beta=0.1, length_coef=0.01), 0.607192)
    check_at_reference(LengthRegularizedDPO(length_coef=0.5), np.log1p(np.exp(1.0)))


def test_at_no_price_it_is_dpo():
    check_same(LengthRegularizedDPO(length_coef=0.0), DPO())


def test_more_is_learned_from_a_shorter_chosen_completion():
    dear, free = step(LengthRegularizedDPO(length_coef=0.5))[1], step(DPO())[1]
    np.testing.assert_allclose(dear[0, 0, 0], -0.1 / (1 + np.exp(0.2 - 1.0)), rtol=1e-5)
    assert dear[0, 0, 0] < free[0, 0, 0] < 0


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="length_coef"):
        LengthRegularizedDPO(length_coef=-0.01)
