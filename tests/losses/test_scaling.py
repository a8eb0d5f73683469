"""DR-IRL's weights: the worked numbers, and categories that do not see one another."""

import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import scaling

ONE, ALL = jnp.zeros(3, int), jnp.ones(3)
SIMILARITIES = 1 - jnp.array([0.2, 0.5, 0.8])
DATA = [0.883325, 1.0, 1.108465]


def test_worked_weights():
    np.testing.assert_allclose(scaling.data_hardness(SIMILARITIES, ONE, ALL), DATA, atol=1e-6)
    gaps = jnp.array([0.5, 1.0, 0.9, 6.0])
    found = scaling.model_hardness(gaps, jnp.zeros(4, int), jnp.ones(4), width=4.0)
    np.testing.assert_allclose(found, 0.774466, atol=1e-6)


def test_alike_prompts_weigh_one():
    np.testing.assert_array_equal(scaling.data_hardness(jnp.full(3, 0.4), ONE, ALL), 1)
    np.testing.assert_array_equal(scaling.model_hardness(jnp.array([0.1, 0.2, 0.3]), ONE, ALL, width=1.0), 1)


def test_categories_are_apart_and_what_is_not_known_counts_nowhere():
    both = jnp.concatenate([SIMILARITIES, jnp.array([0.9, jnp.nan])])
    categories, shares = jnp.array([4, 4, 4, 2, 4]), jnp.array([1.0, 1, 1, 1, 0])
    np.testing.assert_allclose(scaling.data_hardness(both, categories, shares), [*DATA, 1, 1], atol=1e-6)
    found = scaling.model_hardness(both, categories, shares, width=0.01)
    assert not jnp.isnan(found).any()
    assert found[4] == 1


def test_where_no_gap_is_near_the_mean_all_are_kept():
    np.testing.assert_array_equal(scaling.model_hardness(jnp.array([-1.0, 1.0]), ONE[:2], ALL[:2], width=0.1), 1)


def test_a_prompt_on_two_rows_counts_once():
    twice = jnp.concatenate([SIMILARITIES, SIMILARITIES[:1]])
    found = scaling.data_hardness(twice, jnp.zeros(4, int), jnp.array([0.5, 1, 1, 0.5]))
    np.testing.assert_allclose(found, [*DATA, DATA[0]], atol=1e-6)
