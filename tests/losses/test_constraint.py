import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax import masked
from posttrain_jax.losses import constraint


def test_worked_penalty():
    """The policy is 0.01 nats below the old one everywhere: beta 1000, limit 0.0001."""

    def drift(log_ratios):
        return masked.mean(constraint.drift_k1(log_ratios), fx.MASK)

    def penalty(log_ratios):
        return constraint.squared_excess(drift(log_ratios), limit=1e-4, coef=1e3)

    def linear(log_ratios):
        return constraint.pressure(drift(log_ratios), limit=1e-4, coef=1e3) * drift(log_ratios)

    at = jnp.where(fx.MASK, -0.01, 0)
    np.testing.assert_allclose(penalty(at), 0.049005, rtol=1e-5)
    np.testing.assert_allclose(linear(at), 0.099, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(linear)(at), jax.grad(penalty)(at), rtol=1e-5)


def test_within_the_limit_nothing_presses():
    value, gradient = jax.value_and_grad(lambda x: constraint.squared_excess(x, limit=0.1, coef=5.0))(jnp.float32(0.1))
    assert value == gradient == constraint.pressure(jnp.float32(0.05), limit=0.1, coef=5.0) == 0


def test_drifts_have_the_divergence_from_the_old_policy_and_its_gradient_on_average():
    old, logits = jax.nn.log_softmax(jnp.array([0.2, -0.4, 0.9])), jnp.array([0.5, 0.1, -0.3])
    probs = jnp.exp(old)

    def exact(logits):
        return jnp.sum(probs * (old - jax.nn.log_softmax(logits)))

    value, gradient = jax.value_and_grad(exact)(logits)
    for drift in (constraint.drift_k1, constraint.drift_k3):
        mean = lambda x, d=drift: jnp.sum(probs * d(jax.nn.log_softmax(x) - old))  # noqa: E731
        np.testing.assert_allclose(mean(logits), value, rtol=1e-5)
        np.testing.assert_allclose(jax.grad(mean)(logits), gradient, atol=1e-6)
    assert (constraint.drift_k3(jnp.array([-50.0, -1.0, 0.0, 1.0, 50.0])) >= 0).all()
