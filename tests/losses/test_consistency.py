import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import advantage, consistency

IDS = jnp.zeros(1, int)
ACC = jnp.asarray([[1.0, 1.0, 0.0, 1.0]])


def test_worked_numbers():
    logps = jnp.log(jnp.asarray([[[0.97], [0.6], [0.9], [0.8]]]))
    sure = consistency.likelihood(logps, jnp.ones((1, 4, 1), bool), cap=0.95)
    np.testing.assert_allclose(sure, [[0.95, 0.6, 0.9, 0.8]], rtol=1e-6)
    paid = 0.5 * consistency.bonus(sure, ACC, IDS, margin=0.01)
    np.testing.assert_allclose(paid, [[0.5, 0, 0, 0.5]])
    for above, kept in ((-1e-4, 1), (1e-4, 0)):  # 0.8 stands where the mean 0.783333 has this margin
        margin = 0.783333 - 0.8 - above
        assert consistency.bonus(sure, ACC, IDS, margin=margin)[0, 3] == kept
    got = advantage.group_zscore(ACC + paid, IDS, eps=1e-4)
    np.testing.assert_allclose(got, [[0.707007, 0, -1.414014, 0.707007]], atol=1e-5)


def test_a_low_cap_pays_all_that_are_right():
    sure = jnp.full((1, 4), 0.3)
    np.testing.assert_array_equal(consistency.bonus(sure, ACC, IDS, margin=0.0), ACC)


def test_without_a_right_answer_or_without_tags_nothing_is_paid():
    sure = jnp.asarray([[0.5, 0.0, 0.9, 0.4]])
    np.testing.assert_array_equal(consistency.bonus(sure, 0 * ACC, IDS, margin=0.1), 0 * ACC)
    np.testing.assert_array_equal(consistency.bonus(sure, ACC, IDS, margin=0.2), [[1, 0, 0, 1]])
    none = consistency.likelihood(jnp.zeros((1, 4, 2)), jnp.zeros((1, 4, 2), bool), cap=0.95)
    np.testing.assert_array_equal(none, np.zeros((1, 4)))


def test_failed_scores_are_left_out():
    sure = jnp.asarray([[0.5, 0.9, 0.9, 0.5]])
    got = consistency.bonus(sure, ACC.at[0, 1].set(jnp.nan), IDS, margin=0.0)
    np.testing.assert_array_equal(got, [[1, 0, 0, 1]])
