import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import step

LOGITS = jnp.log(
    jnp.array([[[0.9, 0.5, 0.2, 0.8], [0.9, 0.5, 0.2, 0.8]]]) / jnp.array([0.1, 0.5, 0.8, 0.2])[None, None]
)
ENDS = jnp.array([[[1, 0, 1, 1], [0, 0, 0, 0]]], bool)


def test_one_reward_from_the_steps():
    np.testing.assert_allclose(step.least(LOGITS, ENDS), [[0.2, 1]], rtol=1e-5)
    np.testing.assert_allclose(step.product(LOGITS, ENDS), [[0.9 * 0.2 * 0.8, 1]], rtol=1e-5)
    np.testing.assert_allclose(step.final(LOGITS, ENDS), [[0.8, 0.5]], rtol=1e-5)


def test_hard_labels_ask_whether_any_rollout_was_right():
    np.testing.assert_array_equal(step.hard(jnp.array([0, 0.125, 1])), [0, 1, 1])
