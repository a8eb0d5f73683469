import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import effort

# One program each: a hundred of single operations, on shapes that no other test has, take longer.
worth = jax.jit(effort.worth)
ahead = jax.jit(effort.ahead, static_argnames="width")
threshold = jax.jit(effort.threshold)
bucket = jax.jit(effort.bucket)
move = jax.jit(effort.move, static_argnames="aim")


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
    got = worth(
        jnp.float32([count]), jnp.float32([10]), jnp.asarray([correct]), jnp.float32([bucket]), jnp.float32([0.5])
    )
    np.testing.assert_allclose(got, [expected], atol=1e-5)


def test_without_strength_nothing_is_added():
    counts = jnp.arange(6.0)
    got = worth(counts, 3 + 0 * counts, counts > 2, counts % 3, 0 * counts)
    np.testing.assert_array_equal(got, np.zeros(6))


def test_windows_look_ahead_and_are_whole():
    entropy, mask = jnp.asarray([[[9.0, 1.0, 3.0, 5.0]]]), jnp.ones((1, 1, 4), bool)
    np.testing.assert_array_equal(ahead(entropy, mask, width=2), [[[2, 4, np.nan, np.nan]]])
    np.testing.assert_array_equal(ahead(entropy, mask.at[0, 0, 2].set(False), width=1)[0, 0, :2], [1, np.nan])


def test_the_threshold_is_a_median_of_high_quantiles():
    windows = jnp.asarray([[[1.0, 2.0], [3.0, jnp.nan], [jnp.nan, jnp.nan]]])
    assert float(threshold(windows)) == pytest.approx((1.95 + 3) / 2)
    assert np.isnan(threshold(jnp.full((1, 1, 2), jnp.nan)))


def test_buckets_by_accuracy():
    np.testing.assert_array_equal(bucket(jnp.asarray([1.0, 2 / 3, 0.5, 1 / 3, 0.2])), [0, 0, 1, 1, 2])


def test_what_is_remembered():
    first = effort.none()
    counts, kl = jnp.asarray([2.25, jnp.nan, 1.25]), jnp.asarray([0.02, jnp.nan, 0.01])
    got = move(first, effort.follow(first.tau, jnp.float32(1.0)), counts, kl, aim=0.01)
    np.testing.assert_allclose(got.alpha, [0.5125, 0.5, 0.4875], rtol=1e-6)
    np.testing.assert_allclose(got.error, [0.03, 0, 0], atol=1e-8)
    np.testing.assert_allclose(got.beta, [np.exp(0.05 * 0.03), 1, 1], rtol=1e-6)
    np.testing.assert_allclose(got.kl, [0.02, np.nan, 0.01])
    later = move(got, effort.follow(got.tau, jnp.float32(2.0)), counts, kl + 1, aim=0.01)
    assert float(later.tau) == pytest.approx(1.01)
    np.testing.assert_array_equal(later.beta, got.beta)
    assert float(effort.follow(later.tau, jnp.float32(jnp.nan))) == float(later.tau)
