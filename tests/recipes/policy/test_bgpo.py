import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import surrogate
from posttrain_jax.recipes.policy.bgpo import BGPO
from posttrain_jax.recipes.policy.grpo import GRPO

EXACT = {"ddof": 0, "eps": 0.0}


def gradient(recipe, old_logps):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS), old_logps=old_logps)
    loss = lambda x: recipe.loss(types.TokenStats(x, jnp.zeros_like(x)), batch)[0]  # noqa: E731
    return jax.value_and_grad(loss)(fx.LOGPS)


@pytest.mark.parametrize(("sign", "bound", "exact"), [(1.0, 1.133333, 1.142631), (-1.0, -1.158700, -1.142631)])
def test_worked_bounds(sign, bound, exact):
    d = jnp.array([[[0.2, -0.1, 0.3]]])
    got = -jnp.mean(surrogate.boundary(d, jnp.full_like(d, sign)))
    np.testing.assert_allclose(got, bound, atol=1e-6)
    np.testing.assert_allclose(sign * jnp.exp(d.mean()), exact, atol=1e-6)
    assert got < sign * jnp.exp(d.mean())


def test_it_never_exceeds_what_it_bounds():
    d = jax.random.normal(jax.random.key(0), (64, 2, 5))
    advantages = jnp.sign(jax.random.normal(jax.random.key(1), (64, 2, 1))) * jnp.ones_like(d)
    bound = -jnp.mean(surrogate.boundary(d, advantages), axis=-1)
    assert (bound <= jnp.exp(d.mean(-1)) * advantages[:, :, 0] + 1e-6).all()


def test_on_policy_it_is_grpo():
    value, got = gradient(BGPO(**EXACT), fx.LOGPS)
    expected_value, expected = gradient(GRPO(kl_coef=0.0, **EXACT), fx.LOGPS)
    np.testing.assert_allclose(value, expected_value, atol=1e-7)
    np.testing.assert_allclose(got, expected, atol=1e-7)


def test_samples_of_bad_completions_carry_their_ratio_and_those_of_good_ones_none():
    got = gradient(BGPO(**EXACT), fx.OLD)[1]
    kappa = jnp.where(fx.ADVANTAGES > 0, 1, jnp.exp(fx.LOG_RATIO))
    lengths = jnp.array([3.0, 2, 3, 1])[None, :, None]
    np.testing.assert_allclose(got, -fx.ADVANTAGES * kappa / lengths / 4, atol=1e-6)
