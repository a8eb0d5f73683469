import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import effort


@pytest.mark.parametrize(
    ("correct", "count", "bucket", "expected"),
    [
        (True, 20, 0, -0.5),
        (True, 10, 0, 0.0),
        (False, 10, 0, 0.15),
        (True, 4, 1, -0.181818),
        (True, 10, 2, 0.457525),
        (True, 2, 2, -0.1),
        (False, 20, 2, 0.53833),
        (False, 10, 1, 0.2),
        (False, 10, 2, 0.3),
    ],
)
def test_worked_numbers(correct, count, bucket, expected):
    got = effort.worth(
        jnp.float32([count]), jnp.float32([10]), jnp.asarray([correct]), jnp.float32([bucket]), jnp.float32([0.5])
    )
    np.testing.assert_allclose(got, [expected], atol=1e-5)


def test_without_strength_nothing_is_added():
    counts = jnp.arange(6.0)
    got = effort.worth(counts, 3 + 0 * counts, counts > 2, counts % 3, 0 * counts)
    np.testing.assert_array_equal(got, np.zeros(6))


def test_windows_look_ahead_and_are_whole():
    entropy, mask = jnp.asarray([[[9.0, 1.0, 3.0, 5.0]]]), jnp.ones((1, 1, 4), bool)
    np.testing.assert_array_equal(effort.ahead(entropy, mask, width=2), [[[2, 4, np.nan, np.nan]]])
    np.testing.assert_array_equal(effort.ahead(entropy, mask.at[0, 0, 2].set(False), width=1)[0, 0, :2], [1, np.nan])


def test_the_threshold_is_a_median_of_high_quantiles():
    windows = jnp.asarray([[[1.0, 2.0], [3.0, jnp.nan], [jnp.nan, jnp.nan]]])
    assert float(effort.threshold(windows)) == pytest.approx((1.95 + 3) / 2)
    assert np.isnan(effort.threshold(jnp.full((1, 1, 2), jnp.nan)))


def test_buckets_by_accuracy():
    np.testing.assert_array_equal(effort.bucket(jnp.asarray([1.0, 2 / 3, 0.5, 1 / 3, 0.2])), [0, 0, 1, 1, 2])
