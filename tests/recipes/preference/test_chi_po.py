import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import check, check_at_reference, check_same, step

from posttrain_jax.losses import power
from posttrain_jax.recipes.preference.chi_po import ChiPO
from posttrain_jax.recipes.preference.f_dpo import FDPO


def test_canonical_pair():
    check(ChiPO(beta=0.1), 0.499100)
    check_at_reference(ChiPO(), np.log(2))


def test_without_clip_it_is_f_dpo():
    check_same(ChiPO(beta=0.1), FDPO(power.ChiSquaredKL(), beta=0.1))
    check_same(ChiPO(beta=0.1, max_reward=1e3), ChiPO(beta=0.1))


def test_pairs_beyond_the_clip_have_no_gradient():
    # the margin is 0.435
    value, gradient = step(ChiPO(beta=0.1, max_reward=0.2))
    np.testing.assert_allclose(value, np.log1p(np.exp(-0.4)), rtol=1e-6)
    assert not gradient.any()
    assert step(ChiPO(beta=0.1, max_reward=0.22))[1].any()


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"max_reward": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChiPO(**wrong)


def test_the_worked_pair():
    """Log-ratios .3 and -.2 at beta .5: the rewards exp(a) + a are 1.031128 apart, f' of chi^2 / 2 + KL as well."""
    rewards = power.ChiSquaredKL().derivative(jnp.array([0.3, -0.2]))
    np.testing.assert_allclose(rewards[0] - rewards[1], 1.031128, rtol=1e-5)
    np.testing.assert_allclose(np.log1p(np.exp(-0.5 * (rewards[0] - rewards[1]))), 0.468229, rtol=1e-5)
