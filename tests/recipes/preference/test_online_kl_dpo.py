import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, REF, groups, stats, step
from enumeration import FIXED, random

from posttrain_jax import types
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.online_kl_dpo import OnlineKLDPO


def with_samples(logps, ref_logps):
    """Own samples of one token, and the canonical pair."""
    more = jnp.zeros((1, len(logps), 7)).at[0, :, 0].set(jnp.array(logps))
    ref_more = more.at[0, :, 0].set(jnp.array(ref_logps))
    mask = jnp.concatenate([more != 0, GROUPS.completion_mask], axis=1)
    return mask, jnp.concatenate([more, POLICY.logps], axis=1), jnp.concatenate([ref_more, REF], axis=1)


def credit(recipe, given_groups, logps, ref):
    """Of samples that nobody rewarded; the last two completions are given."""
    given = jnp.zeros(logps.shape[:2], bool).at[:, -2:].set(True)
    rollout = types.Rollout(groups=given_groups, sampler=stats(logps), truncated=jnp.zeros_like(given), given=given)
    return recipe.credit(rollout, jnp.where(given, jnp.nan, 0.0), ref)


def run(recipe, logps, ref_logps):
    mask, policy, ref = with_samples(logps, ref_logps)
    batch = credit(recipe, groups(mask), policy, ref)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(stats(policy))
    return value, gradient.logps


@pytest.mark.parametrize(
    ("logps", "ref_logps", "expected"),
    # The mean of the surrogates 2.25 of two samples is worth 1e-4 * 2.25.
    [([-12.0], [-11.0], 0.599339), ([-12.0, -9.0], [-11.0, -9.5], 0.598364)],
)
def test_canonical_pair_with_samples(logps, ref_logps, expected):
    np.testing.assert_allclose(run(OnlineKLDPO(beta=0.1), logps, ref_logps)[0], expected, rtol=2e-6)


def test_two_samples_are_compared_and_the_comparison_has_no_gradient():
    _, gradient = run(OnlineKLDPO(beta=0.1, kl_coef=1.0), [-12.0, -9.0], [-11.0, -9.5])
    np.testing.assert_allclose(gradient[0, :2, 0], [-0.75, 0.75], rtol=1e-6)


def test_without_the_divergence_it_is_dpo():
    value, gradient = run(OnlineKLDPO(beta=0.1, kl_coef=0.0), [-12.0], [-11.0])
    expected, expected_gradient = step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, -2:], expected_gradient, rtol=1e-6)
    np.testing.assert_array_equal(gradient[:, :-2], 0)


@pytest.mark.parametrize("count", [1, 2])
def test_samples_follow_the_divergence_of_the_policy_from_the_reference(count):
    table, ref_table, _ = random(FIXED, 0)
    samples = jnp.array(list(itertools.product(range(9), repeat=count)))
    np.testing.assert_allclose(*gradients(table, ref_table, samples), atol=2e-6)


@jax.jit
def gradients(table, ref_table, samples):
    """The expected gradient of the penalty over all `samples`, and that of the divergence of completions."""
    drawn = FIXED.groups(samples)
    empty = lambda x: jnp.concatenate([x, jnp.zeros_like(x[:, :1]).repeat(2, axis=1)], axis=1)  # noqa: E731
    data = dataclasses.replace(
        drawn,
        completions=empty(drawn.completions),
        completion_lengths=empty(drawn.completion_lengths),
        completion_mask=empty(drawn.completion_mask),
    )
    recipe = OnlineKLDPO(kl_coef=1.0)
    logps, ref_logps = (empty(FIXED.stats(x, samples).logps) for x in (table, ref_table))
    batch = credit(recipe, data, logps, ref_logps)
    probs = jnp.exp(jnp.sum(FIXED.log_probs(table)[samples], axis=-1))
    batch = dataclasses.replace(batch, token_weights=batch.token_weights * (len(samples) * probs)[:, None, None])

    def surrogate(table):
        return recipe.loss(stats(empty(FIXED.stats(table, samples).logps)), batch)[0]

    def divergence(table):
        log_probs = FIXED.log_probs(table)
        return jnp.sum(jnp.exp(log_probs) * (log_probs - FIXED.log_probs(ref_table)))

    return jax.grad(surrogate)(table), jax.grad(divergence)(table)


def test_the_divergence_is_reported():
    mask, policy, ref = with_samples([-12.0, -9.0], [-11.0, -9.5])
    recipe = OnlineKLDPO()
    _, metrics = recipe.loss(stats(policy), credit(recipe, groups(mask), policy, ref))
    np.testing.assert_allclose(metrics["kl"], [-0.25])


def test_what_is_missing_or_meaningless_is_refused():
    mask, policy, ref = with_samples([-12.0], [-11.0])
    batch = credit(OnlineKLDPO(), groups(mask), policy, ref)
    with pytest.raises(ValueError, match="take one update per rollout"):
        OnlineKLDPO().loss(stats(policy), dataclasses.replace(batch, old_logps=policy))
    rollout = types.Rollout(groups=groups(mask), sampler=stats(policy), truncated=jnp.zeros((1, 3), bool))
    with pytest.raises(ValueError, match="say by `given` where"):
        OnlineKLDPO().credit(rollout, jnp.zeros((1, 3)), ref)
    with pytest.raises(ValueError, match="kl_coef"):
        OnlineKLDPO(kl_coef=-1.0)
    with pytest.raises(ValueError, match="beta"):
        OnlineKLDPO(beta=0.0)
