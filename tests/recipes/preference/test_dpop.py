import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, spread, stats, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.dpop import DPOP

BELOW = stats(spread(-11.1, -14.0))


def test_canonical_pair():
    check(DPOP(beta=0.1), 0.598139)
    check(DPOP(beta=0.1), 0.919014, policy=BELOW)
    check(DPOP(beta=0.3), 1.486418, policy=BELOW)
    check_at_reference(DPOP(), np.log(2))


def test_without_penalty_it_is_dpo():
    check_same(DPOP(beta=0.1, penalty_coef=0.0), DPO())


def test_the_penalty_outside_the_sigmoid_is_another_loss():
    outside = step(DPO(beta=0.1), policy=BELOW)[0] + 0.5 * 0.1
    np.testing.assert_allclose(outside, 0.699159, rtol=2e-6)
    assert abs(step(DPOP(beta=0.1, penalty_coef=0.5), policy=BELOW)[0] - outside) > 0.04


def test_below_the_reference_the_chosen_completion_is_pushed_fifty_one_times_as_hard():
    _, gradient = step(DPOP(beta=0.1), policy=BELOW)
    np.testing.assert_allclose(gradient[0, 0, 0], -51 * gradient[0, 1, 0], rtol=1e-5)
    _, gradient = step(DPOP(beta=0.1))
    np.testing.assert_allclose(gradient[0, 0, 0], -gradient[0, 1, 0], rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"penalty_coef": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DPOP(**wrong)
