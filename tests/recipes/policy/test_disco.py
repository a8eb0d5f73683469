import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx
from enumeration import CHEAP, FIXED, random

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, constraint, score
from posttrain_jax.recipes.policy.disco import DisCO
from posttrain_jax.recipes.policy.grpo import GRPO

FREE = DisCO(drift_coef=0.0)
RATIO = DisCO(score.likelihood_ratio, tau=1.0, drift_coef=0.0)


def step(recipe, rewards=fx.REWARDS, old_logps=fx.OLD):
    """Credit before the update, then the update."""
    batch = dataclasses.replace(fx.informed(recipe, rewards)[0], old_logps=old_logps)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)
    return value, gradient.logps


def objective(recipe, logps):
    """Of FX's prompt, coupled as in the paper: its first and last completions are good."""
    log_ratios = logps - fx.OLD
    s = masked.mean(recipe.scoring(logps, log_ratios), fx.MASK, axis=-1)[0]
    bad = s[1:3].mean() if recipe.tau > 1e5 else recipe.tau * (jax.nn.logsumexp(s[1:3] / recipe.tau) - jnp.log(2.0))
    drift = masked.mean(recipe.drift(log_ratios), fx.MASK)
    penalty = constraint.squared_excess(drift, limit=recipe.limit, coef=recipe.drift_coef)
    return (s[0] + s[3]) / 2 - bad - penalty


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (RATIO, 0.423679411),
        (dataclasses.replace(RATIO, tau=float("inf")), 0.426368543),
        (FREE, -0.575170138),
        (dataclasses.replace(FREE, tau=float("inf")), -0.575),
    ],
)
def test_worked_objectives(recipe, expected):
    np.testing.assert_allclose(objective(recipe, fx.LOGPS), expected, atol=1e-6)
    if recipe.tau > 1e5:  # linear then, so that the loss has its value
        np.testing.assert_allclose(step(recipe)[0], -expected, atol=1e-6)


def test_worked_weights_of_the_bad():
    batch = fx.informed(RATIO)[0]
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.5, -0.536619, -0.463381, 0.5], atol=2e-6)


@pytest.mark.parametrize(
    ("scoring", "tau", "drift"),
    [
        (score.log_likelihood, 0.05, constraint.drift_k1),
        (score.log_likelihood, 10.0, constraint.drift_k3),
        (score.likelihood_ratio, 1.0, constraint.drift_k1),
        (score.likelihood_ratio, 0.05, constraint.drift_k3),
    ],
)
def test_the_gradient_is_that_of_the_coupled_objective_and_its_penalty(scoring, tau, drift):
    recipe = DisCO(scoring, tau, drift, limit=-0.5, drift_coef=2.0)
    expected = -jax.grad(lambda logps: objective(recipe, logps))(fx.LOGPS)
    np.testing.assert_allclose(step(recipe)[1], expected, atol=1e-6)
    assert np.abs(expected - step(dataclasses.replace(recipe, drift_coef=0.0))[1]).max() > 1e-3


def test_worked_penalty():
    """The policy is 0.01 nats below the old one: the linear form is 0.099, with beta 1000 and limit 0.0001."""
    old = fx.LOGPS + jnp.where(fx.MASK, 0.01, 0)
    sampler = dataclasses.replace(fx.ROLLOUT.sampler, logps=old)
    batch, _ = fx.informed(DisCO(), jnp.ones((1, 4)), rollout=dataclasses.replace(fx.ROLLOUT, sampler=sampler))
    value, metrics = DisCO().loss(fx.POLICY, dataclasses.replace(batch, old_logps=old))
    np.testing.assert_allclose(value, 0.099, rtol=1e-4)
    np.testing.assert_allclose(metrics["drift"][fx.MASK], 0.01, rtol=1e-4)


def test_on_policy_the_constraint_is_met_and_pushes_nothing():
    data = dataclasses.replace(fx.ROLLOUT, sampler=fx.POLICY)
    batches = [fx.informed(recipe, rollout=data)[0] for recipe in (DisCO(), FREE)]
    got, expected = (jax.grad(lambda p, b=b: DisCO().loss(p, b)[0])(fx.POLICY).logps for b in batches)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("rewards", [[1.0, 0, 0, 0], [1.0, 0, 0, 1], [1.0, 1, 1, 0]])
def test_grpo_is_this_times_the_spread_of_the_rewards(rewards):
    """Without the deviation (Dr. GRPO's advantages), times their variance."""
    rewards = jnp.array([rewards])
    grpo = GRPO(kl_coef=0.0, ddof=0, eps=0.0)
    batch = grpo.credit(fx.ROLLOUT, rewards)
    got = jax.grad(lambda policy: grpo.loss(policy, batch)[0])(fx.POLICY).logps
    p = float(rewards.mean())
    expected = step(dataclasses.replace(RATIO, tau=float("inf")), rewards, old_logps=fx.LOGPS)[1]
    np.testing.assert_allclose(got, np.sqrt(p * (1 - p)) * expected, atol=1e-6)
    centred = advantage.per_token(advantage.group_centered(rewards, fx.GROUP_IDS), fx.MASK)
    without = dataclasses.replace(batch, advantages=centred)
    got = jax.grad(lambda policy: grpo.loss(policy, without)[0])(fx.POLICY).logps
    np.testing.assert_allclose(got, p * (1 - p) * expected, atol=1e-6)


def test_one_bad_completion_makes_the_temperature_idle():
    rewards = jnp.array([[1.0, 1, 1, 0]])
    cold = dataclasses.replace(FREE, tau=0.01)
    np.testing.assert_allclose(step(cold, rewards)[1], step(FREE, rewards)[1], atol=1e-7)


def test_a_constant_added_to_all_scores_changes_nothing():
    moved = dataclasses.replace(fx.POLICY, logps=jnp.where(fx.MASK, fx.LOGPS - 3, 0))
    got, expected = (fx.informed(dataclasses.replace(FREE, tau=0.5), policy=p)[0] for p in (moved, fx.POLICY))
    np.testing.assert_allclose(got.advantages, expected.advantages, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_kind_of_completion_teaches_nothing_but_counts_as_a_prompt(value):
    np.testing.assert_array_equal(step(FREE, jnp.full((1, 4), value))[1], 0)
    both = jax.tree.map(lambda x: jnp.concatenate([x, x]), (fx.ROLLOUT, fx.POLICY))
    groups = dataclasses.replace(both[0].groups, group_ids=jnp.array([0, 1]))
    rewards = jnp.concatenate([fx.REWARDS, jnp.full((1, 4), value)])
    batch, _ = fx.informed(FREE, rewards, rollout=dataclasses.replace(both[0], groups=groups), policy=both[1])
    np.testing.assert_allclose(2 * batch.token_weights[:1], fx.informed(FREE)[0].token_weights, rtol=1e-6)


def test_pairs_follow_the_expected_difference_of_scores():
    """Oracle: on policy, groups of two; E[(s_i - s_j) 1[i good, j bad]] over both orders, the draw held still."""
    table, _, rewards = random(FIXED, 5)
    probs, good = jnp.exp(FIXED.log_probs(table)), (rewards > 0).astype(jnp.float32)
    odds = probs[:, None] * probs[None] * (good[:, None] * (1 - good[None]))
    pairs = jnp.array([(i, j) for i in range(9) for j in range(9)])
    groups, weights = FIXED.groups(pairs), 81 * (probs[pairs[:, 0]] * probs[pairs[:, 1]])[:, None, None]

    def objective(t):
        s = FIXED.stats(t, jnp.arange(9)[None]).logps[0].mean(-1)
        return jnp.sum(2 * odds * (s[:, None] - s[None]))

    def loss(t):
        policy = FIXED.stats(t, pairs)
        still = jax.lax.stop_gradient(policy)
        rollout = types.Rollout(groups, sampler=still, truncated=jnp.zeros(pairs.shape, bool))
        batch, _ = fx.informed(FREE, good[pairs], rollout=rollout, policy=still)
        return FREE.loss(policy, dataclasses.replace(batch, token_weights=weights * batch.token_weights))[0]

    got, expected = jax.jit(lambda t: (jax.grad(loss)(t), jax.grad(objective)(t)), compiler_options=CHEAP)(table)
    np.testing.assert_allclose(got, -expected, atol=2e-6)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="tau"):
        DisCO(tau=0.0)
    with pytest.raises(ValueError, match="drift_coef"):
        DisCO(drift_coef=-1.0)
