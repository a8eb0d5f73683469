import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import check, lookup, stats
from labelled_pair import DESIRABLE, GROUPS, POLICY, REF, emptied, step

from posttrain_jax.recipes.preference.bco import BCO
from posttrain_jax.recipes.preference.bco_pair import BCOPair


def test_canonical_completions():
    # the worked numbers are sums of the two completions
    np.testing.assert_allclose(2 * step(BCO(beta=0.1), 0.0)[0], 1.288793, rtol=2e-6)
    np.testing.assert_allclose(2 * step(BCO(beta=0.1), 0.05)[0], 1.289417, rtol=2e-6)


def test_without_shift_it_is_the_pair_form():
    check(BCOPair(beta=0.3), 2 * step(BCO(beta=0.3), 0.0)[0])


def test_gradient_is_by_the_distance_from_the_shift():
    _, gradient = step(BCO(beta=0.1), 0.05)
    np.testing.assert_allclose(gradient, [-0.05 / (1 + np.exp(0.05)), 0.05 / (1 + np.exp(0.15))], rtol=1e-5)


def test_the_shift_is_the_mean_of_all_rewards_seen():
    recipe = BCO(beta=0.1)
    batch, seen = recipe.credit(emptied(), {"desirable": DESIRABLE}, lookup(POLICY.logps, REF), recipe.init_memory())
    np.testing.assert_allclose([seen.mean, seen.count], [0.1, 1], rtol=1e-5)
    np.testing.assert_allclose(batch.baselines, 0.1, rtol=1e-5)
    np.testing.assert_array_equal(batch.row_weights, [1, 0])
    batch, seen = recipe.credit(GROUPS, {"desirable": DESIRABLE}, lookup(POLICY.logps, REF), seen)
    np.testing.assert_allclose([seen.mean, seen.count], [0.1 / 3, 3], rtol=1e-4)
    np.testing.assert_allclose(batch.baselines, 0.1 / 3, rtol=1e-4)


def test_the_shift_has_no_gradient():
    """Both completions desirable: a shift with a gradient would take away what pushes them up together."""
    recipe = BCO(beta=0.1)

    def loss(logps):
        columns = {"desirable": jnp.ones(2)}
        batch, _ = recipe.credit(GROUPS, columns, lookup(logps, REF), recipe.init_memory())
        return recipe.loss(stats(logps), batch)[0]

    gradient = jax.grad(loss)(POLICY.logps)[:, 0, 0]
    np.testing.assert_allclose(gradient, [-0.05 / (1 + np.exp(0.1)), -0.05 / (1 + np.exp(-0.1))], rtol=1e-5)


def test_missing_labels_are_refused():
    with pytest.raises(ValueError, match="BCO reads the column 'desirable'"):
        BCO().credit(GROUPS, {}, lookup(POLICY.logps, REF), BCO().init_memory())


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="beta"):
        BCO(beta=0.0)
