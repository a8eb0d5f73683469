import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.dapo import DAPO
from posttrain_jax.recipes.policy.lite_ppo import LitePPO


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)[0]


def test_one_group_makes_dapo_of_it():
    got = loss(LitePPO(ddof=0, eps=0.0))
    np.testing.assert_allclose(got, 0.118454563, atol=1e-6)
    np.testing.assert_allclose(got, loss(DAPO(clip_high=0.2, ddof=0, eps=0.0)), rtol=1e-6)


def test_a_group_that_nearly_agrees_is_not_blown_up():
    """Two rows, two groups: rewards 1, 0 and 0.5, 0.501 are divided by one spread."""
    rows = lambda x: x.reshape(2, 2, *x.shape[2:])  # noqa: E731
    groups = dataclasses.replace(
        fx.ROLLOUT.groups,
        prompts=jnp.zeros((2, 1), int),
        prompt_lengths=jnp.ones(2, int),
        completions=rows(fx.ROLLOUT.groups.completions),
        completion_lengths=rows(fx.ROLLOUT.groups.completion_lengths),
        completion_mask=rows(fx.MASK),
        group_ids=jnp.array([0, 1]),
    )
    rollout = dataclasses.replace(fx.ROLLOUT, groups=groups, truncated=jnp.zeros((2, 2), bool))
    batch = LitePPO(eps=0.0).credit(rollout, jnp.array([[1.0, 0.0], [0.5, 0.501]]))
    spread = np.std([1.0, 0.0, 0.5, 0.501], ddof=1)
    expected = np.array([[0.5, -0.5], [-0.0005, 0.0005]]) / spread
    np.testing.assert_allclose(batch.advantages[:, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"clip_low": 2.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LitePPO(**wrong)
