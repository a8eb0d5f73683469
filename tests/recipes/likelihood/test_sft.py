import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.recipes.likelihood.sft import SFT


def test_loss_is_the_mean_over_all_tokens_of_the_batch():
    batch = SFT().credit(fx.ROLLOUT.groups)
    value, metrics = SFT().loss(fx.POLICY, batch)
    np.testing.assert_allclose(value, 9.7 / 9, rtol=1e-6)
    np.testing.assert_allclose(metrics["nll"], -fx.LOGPS)


def test_every_token_is_pushed_alike():
    batch = SFT().credit(fx.ROLLOUT.groups)
    gradient = jax.grad(lambda policy: SFT().loss(policy, batch)[0])(fx.POLICY)
    np.testing.assert_allclose(gradient.logps, jnp.where(fx.MASK, -1 / 9, 0), rtol=1e-6)
    np.testing.assert_array_equal(gradient.entropy, 0)
