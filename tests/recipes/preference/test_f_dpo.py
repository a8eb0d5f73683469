import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, step

from posttrain_jax.losses import generator, power, skew
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.f_dpo import FDPO

WORKED = [
    (FDPO(generator.ReverseKL()), 0.598139),
    (FDPO(generator.ForwardKL()), 0.582517),
    (FDPO(generator.jensen_shannon(), beta=0.2), 0.644397),
    (FDPO(power.Alpha(0.5)), 0.594349),
    (FDPO(power.ChiSquaredKL()), 0.499100),
]


@pytest.mark.parametrize(("recipe", "expected"), WORKED)
def test_canonical_pair(recipe, expected):
    """The paper's f' of the Jensen-Shannon divergence is twice ours, hence the doubled beta."""
    check(recipe, expected)
    check_at_reference(recipe, np.log(2))


def test_under_the_reverse_kl_it_is_dpo():
    check_same(FDPO(generator.ReverseKL(), beta=0.3), DPO(beta=0.3))


def test_alpha_lies_between_the_two_kls():
    check_same(FDPO(power.Alpha.from_fdpo(1e-4)), FDPO(generator.ReverseKL()), rtol=1e-3, atol=1e-5)
    check_same(FDPO(power.Alpha.from_fdpo(0.9999)), FDPO(generator.ForwardKL()), rtol=2e-3, atol=1e-5)


def test_gradient_is_that_of_dpo_times_the_slope_of_the_score():
    # under the forward KL the slope at log-ratio a is exp(-a)
    value, gradient = step(FDPO(generator.ForwardKL()))
    push = 0.1 * -np.expm1(-value)
    np.testing.assert_allclose(gradient[0, :, 0], [-push * np.exp(-1), push * np.exp(1)], rtol=1e-5)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        FDPO(generator.ReverseKL(), beta=0.0)
    for divergence in (power.ChiSquared(), power.Alpha(1.5), skew.SkewedReverseKL(0.1)):
        with pytest.raises(ValueError, match="finite at 0"):
            FDPO(divergence)
