"""f-DPG against the exact gradient of the divergence that it names, and against the methods that it contains."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx
from enumeration import FIXED, expected_gradient, random

from posttrain_jax.losses import generator, power, target
from posttrain_jax.recipes.policy.fdpg import FDPG
from posttrain_jax.recipes.policy.rloo import RLOO

TABLE, REF, REWARDS = random(FIXED, 4)
BETA = 2.0


def log_target():
    scores = FIXED.log_probs(REF) + REWARDS / BETA
    return scores, float(jax.nn.logsumexp(scores))


@pytest.mark.parametrize(
    "divergence",
    [generator.ReverseKL(), generator.ForwardKL(), generator.GeneralizedJS(0.5), power.SquaredHellinger()],
    ids=lambda x: type(x).__name__,
)
def test_expected_gradient_is_that_of_the_divergence_from_the_target(divergence):
    scores, log_z = log_target()
    recipe = FDPG(target.Tilted(BETA), divergence, log_normalizer=log_z)
    got = expected_gradient(recipe, FIXED, TABLE, REWARDS, ref_table=REF)
    exact = jax.grad(lambda table: jnp.sum(divergence.terms(FIXED.log_probs(table), scores - log_z)))(TABLE)
    np.testing.assert_allclose(got, exact, atol=3e-6)


def test_the_worked_gradient_of_jensen_shannon():
    """One position, the target being the reference itself."""
    policy, ref = (jnp.array(x) for x in ([0.5, -0.2, 0.1, -0.7], [0.0, 0.4, -0.3, 0.2]))
    exact = jax.grad(
        lambda x: jnp.sum(
            generator.GeneralizedJS(0.5).terms(jax.nn.log_softmax(x), jax.nn.log_softmax(ref)),
        )
    )(policy)
    # the source's JS is twice ours
    np.testing.assert_allclose(2 * exact, [0.084438, -0.066552, 0.046602, -0.064489], atol=2e-6)


def test_reverse_kl_is_rloo_with_a_divergence_in_the_reward():
    ours = FDPG(target.Tilted(0.05), generator.ReverseKL()).credit(fx.ROLLOUT, fx.REWARDS / 10, fx.REF)
    theirs = RLOO(kl_coef=0.05).credit(fx.ROLLOUT, fx.REWARDS / 10, fx.REF)
    np.testing.assert_allclose(0.05 * ours.advantages, theirs.advantages, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.token_weights, theirs.token_weights)


def test_forward_kl_is_gdc_pp_over_z():
    """P / (Z pi) less the mean of the others, which in expectation is 1."""
    sums = lambda x: np.where(fx.MASK, x, 0).sum(-1)[0]  # noqa: E731
    weights = np.exp(sums(fx.REF) - sums(fx.OLD) + np.asarray(fx.REWARDS)[0])
    normal = weights / weights.mean()
    batch = FDPG(target.Tilted(1.0), generator.ForwardKL()).credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    expected = normal - (normal.sum() - normal) / 3
    np.testing.assert_allclose(batch.advantages[0, :, 0], expected, rtol=1e-5)


def test_a_target_that_is_the_policy_leaves_it_alone():
    batch = FDPG(target.Tilted(1.0)).credit(fx.ROLLOUT, jnp.zeros((1, 4)), fx.OLD)
    np.testing.assert_allclose(batch.advantages, 0, atol=1e-6)


def test_what_breaks_the_condition_is_pushed_down():
    batch = FDPG(target.Satisfied()).credit(fx.ROLLOUT, fx.REWARDS, fx.OLD)
    assert np.all(np.asarray(batch.advantages)[0, [0, 3], 0] > 0)
    assert np.all(np.asarray(batch.advantages)[0, [1, 2], 0] < 0)


def test_it_wants_a_reference_and_one_update():
    with pytest.raises(ValueError, match="give ref_logps"):
        FDPG(target.Tilted(1.0)).credit(fx.ROLLOUT, fx.REWARDS)
    batch = FDPG(target.Tilted(1.0)).credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    with pytest.raises(ValueError, match="one update per rollout"):
        FDPG(target.Tilted(1.0)).loss(fx.POLICY, dataclasses.replace(batch, old_logps=fx.OLD))
