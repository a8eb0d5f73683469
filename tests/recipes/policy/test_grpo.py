import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)


def loss(recipe, rewards=fx.REWARDS):
    batch = recipe.credit(fx.ROLLOUT, rewards, fx.REF)
    return recipe.loss(fx.POLICY, dataclasses.replace(batch, old_logps=fx.OLD))


def test_worked_loss():
    np.testing.assert_allclose(loss(PLAIN)[0], -0.017213402, atol=1e-6)
    np.testing.assert_allclose(loss(GRPO(kl_coef=0.0))[0], -0.017213402 * np.sqrt(3) / 2, atol=1e-6)
    np.testing.assert_allclose(
        loss(GRPO(kl_coef=0.04, ddof=0, eps=0.0))[0], -0.017213402 + 0.04 * 0.050316155, atol=1e-6
    )


def test_metrics():
    _, metrics = loss(GRPO())
    np.testing.assert_allclose(metrics["ratio"], np.exp(fx.LOG_RATIO), rtol=1e-5)
    assert metrics["clip_fraction"].sum() == 3  # 0.4 and 0.6 with positive, -0.5 with negative advantages
    np.testing.assert_allclose(jnp.mean(metrics["kl"][fx.MASK]), 0.051340888, atol=1e-6)
    assert "kl" not in loss(PLAIN)[1]


def test_a_failed_reward_leaves_the_group_and_the_denominator():
    got, _ = loss(PLAIN, jnp.array([[1.0, 0.0, jnp.nan, jnp.nan]]))
    first = -(np.exp(0.1) + np.exp(-0.2) + 1.2) / 3
    second = (np.exp(0.3) + np.exp(-0.1)) / 2
    np.testing.assert_allclose(got, (first + second) / 2, atol=1e-6)


def test_reward_shift_and_scale_change_nothing():
    np.testing.assert_allclose(loss(PLAIN, 8 * fx.REWARDS - 3)[0], loss(PLAIN)[0], atol=1e-6)


def test_gradient_reaches_the_policy_alone():
    batch = dataclasses.replace(GRPO().credit(fx.ROLLOUT, fx.REWARDS, fx.REF), old_logps=fx.OLD)
    floats, tree = jax.tree.flatten(batch)
    kept = [i for i, x in enumerate(floats) if x.dtype == jnp.float32]

    def of(changed):
        leaves = list(floats)
        for i, x in zip(kept, changed, strict=True):
            leaves[i] = x
        return GRPO().loss(fx.POLICY, jax.tree.unflatten(tree, leaves))[0]

    _, _, by_old, by_ref = jax.grad(of)([floats[i] for i in kept])
    np.testing.assert_array_equal(by_old, 0)
    np.testing.assert_array_equal(by_ref, 0)


def test_no_reference_is_needed_without_a_penalty():
    assert GRPO().needs_ref
    assert not PLAIN.needs_ref


@pytest.mark.parametrize("wrong", [{"clip_low": 1.5}, {"clip_high": 0.0}, {"kl_coef": -0.1}, {"kl_coef": float("nan")}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GRPO(**wrong)
