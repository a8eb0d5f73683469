import itertools

import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import diffusion


def test_worked_sample():
    logps = jnp.array([[[[-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0]]]])
    hidden = jnp.array([[[[True, False, True], [False, False, False]]]])
    got = diffusion.elbo(logps, hidden, jnp.array([[[0.5, 1e-6]]]))
    np.testing.assert_allclose(got, [[[-8.0, 0.0]]])


def test_small_levels_are_held():
    got = diffusion.elbo(jnp.full((1, 1, 1, 1), -1.0), jnp.ones((1, 1, 1, 1), bool), jnp.full((1, 1, 1), 1e-9))
    np.testing.assert_allclose(got, -1000, rtol=1e-6)


def test_a_model_that_ignores_the_noise_gets_its_log_likelihood_on_average():
    """All ways to hide three tokens, weighted by t^k (1 - t)^(3 - k) and a fine grid of levels."""
    logps = jnp.array([-0.5, -1.0, -2.0])
    levels = (np.arange(1000) + 0.5) / 1000
    total = 0.0
    for ways in itertools.product([False, True], repeat=3):
        count = sum(ways)
        odds = levels**count * (1 - levels) ** (3 - count)
        one = diffusion.elbo(
            jnp.broadcast_to(logps, (1, 1, 1000, 3)),
            jnp.broadcast_to(jnp.array(ways), (1, 1, 1000, 3)),
            jnp.asarray(levels, jnp.float32)[None, None],
        )
        total += float(np.mean(odds * np.asarray(one[0, 0], np.float64)))
    np.testing.assert_allclose(total, logps.sum(), rtol=1e-3)
