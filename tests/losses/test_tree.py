import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage, tree

REWARDS = jnp.array([[0.2, 0.6, 1.0, 0.8]])
BRANCHES = jnp.array([[[5, 0], [5, 1], [3, 2], [3, 3]]])
"""Two branches of two leaves."""
ALL = jnp.ones((1, 4), bool)
ONE = jnp.array([0])


def test_worked_values():
    np.testing.assert_allclose(
        tree.fuse(REWARDS, BRANCHES, ONE)[0], [[0.4, 0.2], [0.4, 0.6], [0.9, 1.0], [0.9, 0.8]], rtol=1e-6
    )


def test_worked_advantages():
    got = tree.depth_zscore(tree.fuse(REWARDS, BRANCHES, ONE), BRANCHES, ALL, ONE)
    np.testing.assert_allclose(got[0, :, 0], [-0.707107, -0.707107, 0.707107, 0.707107], atol=1e-6)
    np.testing.assert_allclose(got[0, :, 1], [-1.317465, -0.146385, 1.024695, 0.439155], atol=2e-6)


def test_worked_values_by_likelihood():
    logps = jnp.log(jnp.array([[[0.5, 0.7], [0.5, 0.3], [0.5, 0.5], [0.5, 0.5]]]))
    got = tree.fuse_by_likelihood(REWARDS, logps, BRANCHES, ONE)
    np.testing.assert_allclose(got[0, :, 0], [0.32, 0.32, 0.9, 0.9], rtol=1e-6)
    np.testing.assert_allclose(got[0, :, 1], REWARDS[0], rtol=1e-6)


UNEVEN = jnp.array([[[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]])
"""The root splits in two, one branch in two again, and one of those in two."""


def test_children_weigh_alike_by_likelihood_however_many_leaves_they_have():
    got = tree.fuse_by_likelihood(REWARDS, jnp.zeros((1, 4, 3)), UNEVEN, ONE)
    np.testing.assert_allclose(got[0, :, 0], [0.7, 0.7, 0.7, 0.8], rtol=1e-6)
    np.testing.assert_allclose(tree.fuse(REWARDS, UNEVEN, ONE)[0, 0, 0], 0.6, rtol=1e-6)


def test_every_node_is_counted_once():
    values = tree.fuse(REWARDS, UNEVEN, ONE)
    got = tree.depth_zscore(values, UNEVEN, ALL, ONE, eps=0.0)
    np.testing.assert_allclose(got[0, :, 0], np.array([-1, -1, -1, 1]) / np.sqrt(2), rtol=1e-5)
    nodes = np.array([0.4, 1.0, 0.8])
    np.testing.assert_allclose(got[0, 1:, 1], (nodes - nodes.mean()) / nodes.std(ddof=1), rtol=1e-5)


def test_branching_at_the_root_alone_is_a_group():
    flat = jnp.arange(4).reshape(1, 4, 1)
    got = tree.depth_zscore(tree.fuse(REWARDS, flat, ONE), flat, ALL, ONE)
    np.testing.assert_allclose(got[..., 0], advantage.group_zscore(REWARDS, ONE, eps=1e-8), rtol=1e-5)


def test_failed_rewards_leave_the_nodes_above():
    rewards = jnp.array([[jnp.nan, 0.6, 1.0, 0.8]])
    counted = ~jnp.isnan(rewards)
    values = tree.fuse(rewards, BRANCHES, ONE)
    np.testing.assert_allclose(values[0, :, 0], [0.6, 0.6, 0.9, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(tree.leaves(BRANCHES, counted, ONE)[0, :, 0], [1, 1, 2, 2])
    got = tree.depth_zscore(values, BRANCHES, counted, ONE, eps=0.0)
    np.testing.assert_array_equal(got[0, 0], 0)
    np.testing.assert_allclose(got[0, 1:, 1], np.array([-1, 1, 0]), atol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 7.7])
def test_equal_rewards_and_single_nodes_give_nothing(value):
    values = tree.fuse(jnp.full((1, 4), value), UNEVEN, ONE)
    np.testing.assert_array_equal(tree.depth_zscore(values, UNEVEN, ALL, ONE), 0)
    apart = tree.depth_zscore(tree.fuse(REWARDS, 0 * UNEVEN, ONE), 0 * UNEVEN, ALL, ONE)
    np.testing.assert_array_equal(apart, 0)


def test_equal_names_in_other_groups_are_other_nodes_and_groups_may_span_rows():
    rewards, branches = REWARDS.reshape(2, 2), BRANCHES.at[..., 0].set(0).reshape(2, 2, 2)
    apart = tree.fuse(rewards, branches, jnp.array([0, 1]))
    np.testing.assert_allclose(apart[..., 0], [[0.4, 0.4], [0.9, 0.9]], rtol=1e-6)
    together = tree.fuse(rewards, branches, jnp.array([4, 4]))
    np.testing.assert_allclose(together[..., 0], 0.65, rtol=1e-6)


def test_width_pruning_keeps_extremes_of_each_branch():
    rewards = jnp.array([[0.1, 0.4, 0.2, 0.3, 0.9, 0.7, 0.8, jnp.nan]])
    nodes = jnp.array([[0, 0, 0, 0, 1, 1, 1, 1]])
    np.testing.assert_array_equal(tree.extremes(rewards, nodes, ONE)[0], [0, 1, 0, 1, 1, 0, 0, 0])
    both = tree.extremes(rewards, nodes, ONE, best=0.25, worst=0.25)
    np.testing.assert_array_equal(both[0], [1, 1, 0, 0, 0, 0, 0, 0])


def test_tokens_read_the_depth_that_they_lead_to():
    edges = jnp.array([[[0, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1]]])
    got = tree.on_tokens(tree.fuse(REWARDS, BRANCHES, ONE), edges)
    np.testing.assert_allclose(got[0], [[0.4, 0.4, 0.2], [0.4, 0.6, 0.6], [0.9, 0.9, 1.0], [0.8, 0.8, 0.8]], rtol=1e-6)


def test_no_gradient():
    logps = jnp.zeros((1, 4, 2))
    got = jax.grad(lambda *x: tree.fuse_by_likelihood(*x, BRANCHES, ONE).sum(), argnums=(0, 1))(REWARDS, logps)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), got)
