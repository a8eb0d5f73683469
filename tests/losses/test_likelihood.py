import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import likelihood, weight


def test_token_mean_is_the_cross_entropy_of_the_batch():
    logits = jnp.array([[[[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]]]])
    logps = jax.nn.log_softmax(logits)[..., 1]
    loss = jnp.sum(weight.token_mean(jnp.ones((1, 1, 2), bool)) * likelihood.negative_log_likelihood(logps))
    expected = (np.log(1 + np.e + np.exp(-1)) - 1 + np.log(np.exp(2) + 2)) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
