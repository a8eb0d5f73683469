import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.losses import covariance


def test_worked_covariances():
    """FX: means of the advantage -0.111111 and of the log-probability -1.077778."""
    got = covariance.of_tokens(fx.LOGPS, fx.ADVANTAGES, fx.MASK)
    expected = [
        [0.197531, 0.419753, -0.580247],
        [-0.602469, 0.197531, 0],
        [-0.246914, -0.202469, 0.153086],
        [-0.91358, 0, 0],
    ]
    np.testing.assert_allclose(got[0], expected, atol=1e-6)


def test_they_sum_to_the_covariance_and_are_free_of_gradient():
    got = covariance.of_tokens(fx.LOGPS, fx.ADVANTAGES, fx.MASK)
    expected = np.cov(fx.LOGPS[fx.MASK], fx.ADVANTAGES[fx.MASK], ddof=0)[0, 1]
    np.testing.assert_allclose(got.sum() / 9, expected, rtol=1e-5)
    gradient = jax.grad(lambda *x: covariance.of_tokens(*x, fx.MASK).sum(), argnums=(0, 1))(fx.LOGPS, fx.ADVANTAGES)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), gradient)


def test_a_small_step_lowers_the_entropy_by_the_covariance():
    """One state of four choices: natural policy gradient adds step A to the logits."""
    logits, advantages, step = jnp.array([0.3, -0.5, 1.0, 0.1]), jnp.array([1.0, -0.5, 0.7, -2.0]), 1e-2
    probs = jax.nn.softmax(logits)
    advantages -= probs @ advantages

    def entropy(logits):
        return -jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits))

    log_probs = jax.nn.log_softmax(logits)
    cov = probs @ ((log_probs - probs @ log_probs) * advantages)
    got = entropy(logits + step * advantages) - entropy(logits - step * advantages)
    np.testing.assert_allclose(got / (2 * step), -cov, rtol=1e-3)
