import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import weight
from posttrain_jax.recipes.policy.dcpo import DCPO
from posttrain_jax.recipes.policy.grpo import GRPO

RECIPE = DCPO(prompts=8)


def loss(recipe, batch, policy=fx.POLICY, old_logps=fx.OLD):
    batch = dataclasses.replace(batch, old_logps=old_logps)
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)


def test_the_first_visit_has_the_advantages_of_grpo_and_sums_completions():
    batch, memory = fx.informed(RECIPE)
    plain = GRPO(kl_coef=0.0, eps=0.0).credit(fx.ROLLOUT, fx.REWARDS)
    np.testing.assert_allclose(batch.advantages, plain.advantages, atol=1e-6)
    np.testing.assert_allclose(batch.token_weights, 4 * weight.sequence_mean(fx.MASK), rtol=1e-6)
    assert memory.count[7] == 1


def test_what_was_seen_before_changes_the_advantages():
    """Worked visits 1, 0, 0, 0 and 1, 1, 0, 0."""
    _, memory = fx.informed(RECIPE, jnp.array([[1.0, 0, 0, 0]]))
    batch, memory = fx.informed(RECIPE, jnp.array([[1.0, 1, 0, 0]]), memory=memory)
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.996747, 0.996747, -0.771253, -0.771253], atol=2e-6)
    np.testing.assert_allclose(memory.mean[7], 0.375, rtol=1e-6)


def test_on_policy_it_is_grpo_times_the_completions():
    _, got = loss(RECIPE, fx.informed(RECIPE)[0], old_logps=None)
    plain = GRPO(kl_coef=0.0, eps=0.0)
    _, expected = loss(plain, plain.credit(fx.ROLLOUT, fx.REWARDS), old_logps=None)
    np.testing.assert_allclose(got.logps, 4 * expected.logps, atol=1e-6)


def test_the_bounds_hang_on_the_old_probability():
    """FX: an old probability of exp(-0.5) bounds the ratio by 1.2614, one of exp(-2.5) by 2.1391."""
    batch, _ = fx.informed(RECIPE)
    for token, bound in (((0, 0, 1), 1.261409), ((0, 3, 0), 2.139054)):
        for ratio, moves in ((bound - 1e-3, True), (bound + 1e-3, False)):
            logps = fx.LOGPS.at[token].set(fx.OLD[token] + np.log(ratio))
            _, gradient = loss(RECIPE, batch, policy=dataclasses.replace(fx.POLICY, logps=logps))
            assert (gradient.logps[token] != 0) == moves


def test_the_lower_bound_counts_where_the_advantage_is_negative():
    """FX: an old probability of exp(-0.3) bounds the ratio by 1/2 + sqrt(1 - 0.64 / 0.740818) / 2 = 0.684452."""
    batch, _ = fx.informed(RECIPE)
    for ratio, moves in ((0.683, False), (0.686, True)):
        logps = fx.LOGPS.at[0, 2, 0].set(fx.OLD[0, 2, 0] + np.log(ratio))
        _, gradient = loss(RECIPE, batch, policy=dataclasses.replace(fx.POLICY, logps=logps))
        assert (gradient.logps[0, 2, 0] != 0) == moves


def test_failed_completions_neither_learn_nor_are_remembered():
    batch, memory = fx.informed(RECIPE, jnp.array([[1.0, 0, jnp.nan, 0]]))
    np.testing.assert_array_equal(batch.token_weights[0, 2], 0)
    np.testing.assert_allclose(memory.mean[7], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(memory.count, jnp.zeros(8).at[7].set(1))


def test_ratios_beyond_the_cap_rest_where_the_advantage_is_negative():
    batch, _ = fx.informed(RECIPE)
    logps = fx.LOGPS.at[0, 1, 0].set(fx.OLD[0, 1, 0] + np.log(10.5))
    _, gradient = loss(RECIPE, batch, policy=dataclasses.replace(fx.POLICY, logps=logps))
    assert gradient.logps[0, 1, 0] == 0
    near = fx.LOGPS.at[0, 1, 0].set(fx.OLD[0, 1, 0] + np.log(9.5))
    assert loss(RECIPE, batch, policy=dataclasses.replace(fx.POLICY, logps=near))[1].logps[0, 1, 0] != 0


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="cap="):
        DCPO(prompts=3, cap=0.5)
    with pytest.raises(ValueError, match="prompts="):
        DCPO(prompts=0)
