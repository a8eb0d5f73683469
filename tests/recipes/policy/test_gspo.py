import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.gspo import GSPO


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)


PLAIN = GSPO(clip_low=0.2, clip_high=0.2, ddof=0, eps=0.0)


def test_worked_loss():
    value, metrics = loss(PLAIN)
    np.testing.assert_allclose(value, -0.066123254, atol=1e-6)
    np.testing.assert_allclose(metrics["ratio"][0, :, 0], [1.105171, 1.105171, 0.935507, 1.822119], atol=2e-6)
    np.testing.assert_array_equal(metrics["clip_fraction"][0, :, 0], [0, 0, 0, 1])


def test_the_ratio_is_a_mean_over_tokens_and_not_a_sum():
    """Twice the tokens, each moved as far, are the same ratio; a sum would square it."""
    twice = lambda x: jnp.concatenate([x, x], axis=-1)  # noqa: E731
    groups = dataclasses.replace(
        fx.ROLLOUT.groups, completions=twice(fx.ROLLOUT.groups.completions), completion_mask=twice(fx.MASK)
    )
    rollout = dataclasses.replace(fx.ROLLOUT, groups=groups, sampler=jax.tree.map(twice, fx.ROLLOUT.sampler))
    batch = dataclasses.replace(PLAIN.credit(rollout, fx.REWARDS), old_logps=twice(fx.OLD))
    value, metrics = PLAIN.loss(jax.tree.map(twice, fx.POLICY), batch)
    np.testing.assert_allclose(value, -0.066123254, atol=1e-6)
    np.testing.assert_allclose(metrics["ratio"][0, 3, 0], np.exp(0.6), rtol=1e-6)


def test_the_default_range_is_the_papers():
    _, metrics = loss(GSPO())
    assert metrics["clip_fraction"][fx.MASK].sum() == 7  # whole completions: the first (3), third (3) and fourth (1)


@pytest.mark.parametrize("wrong", [{"clip_low": 0.0}, {"clip_high": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GSPO(**wrong)
