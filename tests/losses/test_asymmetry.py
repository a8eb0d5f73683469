import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import asymmetry


def test_the_divergence_weighs_less_on_hard_prompts():
    got = asymmetry.ease(jnp.asarray([0.125, 0.25, 0.5, 0.75, 0.875, 0.0, 1.0]))
    np.testing.assert_allclose(got, [0.90731, 0.869804, 0.743119, 0.493165, 0.288077, 1, 1], atol=1e-6)


@pytest.mark.parametrize(("excess", "scale"), [(200, 1.001998), (1000, 1.00995), (4096, 1.040132)])
def test_wrong_completions_that_are_too_long_weigh_more(excess, scale):
    lengths = jnp.asarray([[100, 300, 200 + excess, 150]])
    correct, scored = jnp.asarray([[True, True, False, False]]), jnp.ones((1, 4), bool)
    got = asymmetry.overthinking(lengths, correct, scored, jnp.zeros(1, int), base=1.00001)
    np.testing.assert_allclose(got, [[1, 1, scale, 1]], atol=2e-6)


def test_without_a_correct_completion_nothing_is_too_long():
    lengths, none = jnp.asarray([[1, 900]]), jnp.zeros((1, 2), bool)
    got = asymmetry.overthinking(lengths, none, ~none, jnp.zeros(1, int), base=2.0)
    np.testing.assert_array_equal(got, [[1, 1]])


def test_the_scale_stays_below_two_and_unscored_completions_are_not_wrong():
    lengths = jnp.asarray([[1, 30, 90000]])
    correct, scored = jnp.asarray([[True, False, False]]), jnp.asarray([[True, True, False]])
    got = asymmetry.overthinking(lengths, correct, scored, jnp.zeros(1, int), base=2.0)
    np.testing.assert_allclose(got, [[1, 2, 1]], rtol=1e-6)
