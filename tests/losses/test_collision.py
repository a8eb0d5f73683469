import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import collision, divergence


def test_by_hand():
    log_p = jnp.log(jnp.array([[0.5, 0.25, 0.25], [1.0, 1e-30, 1e-30]]))
    got = divergence.exact(collision.Collision(), log_p, log_p)
    np.testing.assert_allclose(got, [0.375, 1.0], rtol=1e-6)
    np.testing.assert_allclose(collision.Collision().slopes(log_p, log_p)[0], [0.5, 0.125, 0.125], rtol=1e-6)
