import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, step

from posttrain_jax.losses import divergence_score as score
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.f_dpo import FDPO

WORKED = [
    (score.ReverseKL(), 0.598139),
    (score.ForwardKL(), 0.582517),
    (score.JensenShannon(), 0.644397),
    (score.Alpha(0.5), 0.594349),
    (score.ChiSquaredKL(), 0.499100),
]


@pytest.mark.parametrize(("divergence", "expected"), WORKED)
def test_canonical_pair(divergence, expected):
    check(FDPO(divergence), expected)
    check_at_reference(FDPO(divergence), np.log(2))


def test_under_the_reverse_kl_it_is_dpo():
    check_same(FDPO(score.ReverseKL(), beta=0.3), DPO(beta=0.3))


def test_alpha_lies_between_the_two_kls():
    check_same(FDPO(score.Alpha(1e-4)), FDPO(score.ReverseKL()), rtol=1e-3, atol=1e-5)
    check_same(FDPO(score.Alpha(0.9999)), FDPO(score.ForwardKL()), rtol=2e-3, atol=1e-5)


def test_gradient_is_that_of_dpo_times_the_slope_of_the_score():
    # under the forward KL the slope at log-ratio a is exp(-a)
    value, gradient = step(FDPO(score.ForwardKL()))
    push = 0.1 * -np.expm1(-value)
    np.testing.assert_allclose(gradient[0, :, 0], [-push * np.exp(-1), push * np.exp(1)], rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        FDPO(score.ReverseKL(), beta=0.0)
