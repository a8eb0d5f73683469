import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import advantage, reflection

LP = jnp.asarray([[[-0.1, -2.0, -0.3], [-0.1, -0.5, -0.4], [-0.2, -1.0, -0.3]]])
SCORED = jnp.ones((1, 3), bool)
IDS = jnp.zeros(1, int)


def test_worked_numbers():
    sigmas = reflection.spread(LP, SCORED, IDS)
    np.testing.assert_allclose(sigmas, [[0.04714, 0.62361, 0.04714]], atol=1e-5)
    shares = reflection.weights(sigmas)
    np.testing.assert_allclose(shares, [[0.065665, 0.86867, 0.065665]], atol=1e-6)
    without = jnp.asarray([[-0.15, -2.5, -0.35]])
    got = reflection.certainty(LP, shares, without)
    np.testing.assert_allclose(got, [[0.440901, 1.737339, 1.303004]], atol=1e-6)


def test_what_no_thought_says_cancels_within_groups():
    shares = reflection.weights(reflection.spread(LP, SCORED, IDS))
    with_it = reflection.certainty(LP, shares, jnp.asarray([[-0.15, -2.5, -0.35]]))
    without = reflection.certainty(LP, shares)
    assert np.abs(with_it - without).max() > 0.1
    np.testing.assert_allclose(advantage.group_zscore(with_it, IDS), advantage.group_zscore(without, IDS), rtol=1e-4)


def test_unit_weights_are_the_answers_log_probability():
    np.testing.assert_allclose(reflection.certainty(LP, jnp.ones((1, 3))), [[-2.4, -1, -1.5]], rtol=1e-6)


def test_unscored_thoughts_do_not_count_and_equal_ones_have_no_weight():
    got = reflection.spread(LP, jnp.asarray([[True, False, True]]), IDS)
    np.testing.assert_allclose(got, [[0.05, 0.5, 0]], atol=1e-6)
    np.testing.assert_array_equal(reflection.weights(jnp.zeros((1, 3))), np.zeros((1, 3)))


@pytest.mark.parametrize(("distance", "prob"), [(1.0, 0.514775), (2.0, 0.705696), (5.0, 0.934332)])
def test_an_unlikely_token_holds_near_ones_back(distance, prob):
    got = reflection.persistence(jnp.float32(0.2), jnp.float32(distance), rate=0.5)
    np.testing.assert_allclose(got, prob, atol=1e-6)


def test_answers_of_the_same_length():
    got = reflection.same_length(jnp.asarray([[130, 100]]), jnp.asarray([100]), slope=0.5)
    np.testing.assert_allclose(got, [[0.85, 1]], rtol=1e-6)


def test_the_answer_stands_behind_each_thought():
    cuts, answers = jnp.asarray([[1, 2, 3, 0]]), jnp.asarray([[5, 6, -1]])
    groups = fx.ROLLOUT.groups
    words = jnp.asarray([[[1, 2, 3], [1, 2, 0], [4, 4, 4], [3, 0, 0]]])
    got = reflection.answered(dataclasses.replace(groups, completions=words), cuts, (9,), answers)
    np.testing.assert_array_equal(
        got.completions[0], [[1, 9, 5, 6, 0, 0, 0], [1, 2, 9, 5, 6, 0, 0], [4, 4, 4, 9, 5, 6, 0], [9, 5, 6, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(got.completion_lengths, [[4, 5, 6, 3]])
    np.testing.assert_array_equal(got.completions[0][np.asarray(got.completion_mask)[0]], [5, 6] * 4)
    said = jnp.where(got.completion_mask, -got.completions.astype(jnp.float32), 0)
    found = reflection.of_answer(said, got.completion_mask, 3)
    np.testing.assert_array_equal(found, np.broadcast_to([-5, -6, 0], (1, 4, 3)))
