import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from canonical_pair import GROUPS, MASK, POLICY, REF, spread, stats, step

from posttrain_jax import types
from posttrain_jax.recipes.preference.cpo import CPO
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.wpo import WPO


def looked_up(recipe, logps, collisions):
    """The batch under a policy of these log-probabilities and (logarithms of) collisions."""
    policy = dataclasses.replace(stats(logps), divergences={"collision": jnp.where(MASK, jnp.exp(collisions), 0)})
    lookup = types.Lookup(lambda *_: policy, lambda *_: stats(REF), jax.random.key(0))
    return recipe.credit(GROUPS, {}, lookup, ())[0]


def credit(recipe, chosen_weight, rejected_weight, logps=POLICY.logps):
    weights = spread(5 * np.log(chosen_weight), 7 * np.log(rejected_weight))
    return looked_up(recipe, logps, logps - weights)


def test_canonical_pair():
    batch = credit(WPO(DPO(beta=0.1)), 0.8, 0.5)
    np.testing.assert_allclose(WPO(DPO(beta=0.1)).loss(POLICY, batch)[0], 0.239256, rtol=1e-5)


def test_pairs_the_policy_would_write_itself_weigh_as_before():
    np.testing.assert_allclose(credit(WPO(), 1.0, 1.0).pair_weights, [1], rtol=1e-6)
    np.testing.assert_allclose(credit(WPO(), 3.0, 0.5).pair_weights, [1], rtol=1e-6)


def test_the_gradient_is_weighted_like_the_loss():
    recipe = WPO(DPO(beta=0.1))
    batch = credit(recipe, 0.8, 0.5)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(POLICY).logps
    np.testing.assert_allclose(gradient, 0.4 * step(DPO(beta=0.1))[1], rtol=1e-5)


def test_a_likelihood_beside_the_preference_is_not_weighted():
    np.testing.assert_array_equal(credit(WPO(CPO()), 0.8, 0.5).token_weights, CPO().credit(GROUPS).token_weights)


def test_even_tokens_are_what_a_uniform_policy_expects():
    log_probs = jnp.where(MASK, -np.log(8.0), 0)
    batch = looked_up(WPO(), log_probs, log_probs)
    np.testing.assert_allclose(batch.pair_weights, [1])
    assert WPO().loss(stats(log_probs), batch)[0] > 0
