import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import ensemble

REWARDS = jnp.array([1.0, 2.0, 6.0])


def test_the_worked_numbers():
    assert float(ensemble.mean(REWARDS)) == 3
    assert float(ensemble.worst_case(REWARDS)) == 1
    assert float(ensemble.uncertainty_weighted(REWARDS, coef=0.5)) == pytest.approx(2 / 3, rel=1e-6)
    assert float(ensemble.uncertainty_weighted(REWARDS, coef=0.5, ddof=1)) == pytest.approx(-0.5)


def test_limits():
    rewards = jax.random.normal(jax.random.key(0), (4, 5))
    uncertain = ensemble.uncertainty_weighted(rewards, coef=0.3)
    np.testing.assert_allclose(ensemble.uncertainty_weighted(rewards, coef=0.0), ensemble.mean(rewards), atol=1e-6)
    np.testing.assert_allclose(ensemble.uncertainty_weighted(rewards + 2, coef=0.3), uncertain + 2, atol=1e-5)
    assert (ensemble.worst_case(rewards) <= ensemble.mean(rewards)).all()
    alike = jnp.full((2, 3), 0.7)
    for reduce in (ensemble.mean, ensemble.worst_case, lambda x: ensemble.uncertainty_weighted(x, coef=2.0)):
        np.testing.assert_allclose(reduce(alike), [0.7, 0.7], rtol=1e-6)
        np.testing.assert_allclose(reduce(rewards[:, :1]), rewards[:, 0], rtol=1e-6)


def test_one_member_has_no_unbiased_variance():
    with pytest.raises(ValueError, match="1 members have no variance with ddof=1"):
        ensemble.uncertainty_weighted(REWARDS[:1], coef=0.5, ddof=1)
