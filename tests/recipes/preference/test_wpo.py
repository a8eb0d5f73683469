import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, MASK, POLICY, REF, spread, stats, step

from posttrain_jax.recipes.preference.cpo import CPO
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.wpo import WPO


def credit(recipe, chosen_weight, rejected_weight, logps=POLICY.logps):
    collisions = jnp.where(MASK, logps - spread(5 * np.log(chosen_weight), 7 * np.log(rejected_weight)), 0)
    return recipe.credit(GROUPS, REF, policy_logps=logps, log_collisions=collisions)


def test_canonical_pair():
    batch = credit(WPO(DPO(beta=0.1)), 0.8, 0.5)
    np.testing.assert_allclose(WPO(DPO(beta=0.1)).loss(POLICY, batch)[0], 0.239256, rtol=1e-5)


def test_pairs_the_policy_would_write_itself_weigh_as_before():
    np.testing.assert_allclose(credit(WPO(), 1.0, 1.0).pair_weights, [1], rtol=1e-6)
    np.testing.assert_allclose(credit(WPO(), 3.0, 0.5).pair_weights, [1], rtol=1e-6)


def test_weights_have_no_gradient():
    recipe = WPO(DPO(beta=0.1))
    batch = credit(recipe, 0.8, 0.5)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(POLICY).logps
    np.testing.assert_allclose(gradient, 0.4 * step(DPO(beta=0.1))[1], rtol=1e-5)


def test_a_likelihood_beside_the_preference_is_not_weighted():
    np.testing.assert_array_equal(credit(WPO(CPO()), 0.8, 0.5).token_weights, CPO().credit(GROUPS).token_weights)


def test_even_tokens_are_what_a_uniform_policy_expects():
    log_probs = jnp.where(MASK, -np.log(8.0), 0)
    batch = WPO().credit(GROUPS, REF, policy_logps=log_probs, log_collisions=log_probs)
    np.testing.assert_allclose(batch.pair_weights, [1])
    assert WPO().loss(stats(log_probs), batch)[0] > 0


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="log_collisions"):
        WPO().credit(GROUPS, REF, policy_logps=POLICY.logps)
