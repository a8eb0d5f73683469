import jax
import numpy as np
import worked_numbers as fx

from posttrain_jax import masked
from posttrain_jax.losses import score


def test_worked_scores():
    scores = masked.mean(score.likelihood_ratio(fx.LOGPS, fx.LOG_RATIO), fx.MASK, axis=-1)
    np.testing.assert_allclose(scores[0], [1.138575, 1.127348, 0.980609, 1.822119], atol=1e-6)
    scores = masked.mean(score.log_likelihood(fx.LOGPS, fx.LOG_RATIO), fx.MASK, axis=-1)
    np.testing.assert_allclose(scores[0], [-1.066667, -0.85, -0.966667, -1.9], atol=1e-6)


def test_gradients_differ_by_the_ratio():
    def gradient(scoring):
        return jax.grad(lambda logps: scoring(logps, logps - fx.OLD).sum())(fx.LOGPS)

    np.testing.assert_array_equal(gradient(score.log_likelihood), 1)
    np.testing.assert_allclose(gradient(score.likelihood_ratio), np.exp(fx.LOG_RATIO), rtol=1e-6)
