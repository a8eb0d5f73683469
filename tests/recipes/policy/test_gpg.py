import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.recipes.policy.asym_re import AsymRE
from posttrain_jax.recipes.policy.gpg import GPG


def two_groups(second_mask, recipe=GPG()):  # noqa: B008
    """FX, and a group of equal rewards with the given mask."""
    both = lambda x, y: jnp.concatenate([x, y])  # noqa: E731
    groups = fx.ROLLOUT.groups
    groups = types.Groups(
        prompts=jnp.zeros((2, 1), int),
        prompt_lengths=jnp.ones(2, int),
        completions=jnp.zeros((2, 4, 3), int),
        completion_lengths=both(groups.completion_lengths, second_mask.sum(-1)),
        completion_mask=both(groups.completion_mask, second_mask),
        group_ids=jnp.array([1, 2]),
    )
    sampler = types.TokenStats(both(fx.OLD, fx.OLD), both(fx.OLD, fx.OLD))
    rollout = types.Rollout(groups=groups, sampler=sampler, truncated=jnp.zeros((2, 4), bool))
    batch = recipe.credit(rollout, both(fx.REWARDS, jnp.ones((1, 4))))
    logps = both(fx.LOGPS, fx.LOGPS)
    return recipe.loss(types.TokenStats(logps, logps), batch)[0]


def test_worked_losses():
    alone = GPG().loss(fx.POLICY, GPG().credit(fx.ROLLOUT, fx.REWARDS))[0]
    np.testing.assert_allclose(alone, 0.027777778, atol=1e-6)


def test_a_group_of_equal_rewards_stays_in_the_denominator_and_is_made_up_for():
    np.testing.assert_allclose(two_groups(fx.MASK, AsymRE(shift=0.0)), 0.013888889, atol=1e-6)
    np.testing.assert_allclose(two_groups(fx.MASK), 0.027777778, atol=1e-6)
    np.testing.assert_allclose(two_groups(jnp.ones((1, 4, 3), bool)), 0.023809524, atol=1e-6)


def test_nothing_to_learn_stays_finite():
    batch = GPG().credit(fx.ROLLOUT, jnp.ones((1, 4)))
    np.testing.assert_array_equal(batch.advantages, 0)
