import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import divergence, generator, multiple

TEACHER, STUDENT = jnp.array([0.6, 0.3, 0.1]), jnp.array([0.2, 0.3, 0.5])


def of(one):
    """Value and gradient by the student's logits."""
    exact = lambda x: divergence.exact(one, jax.nn.log_softmax(x), jnp.log(TEACHER))  # noqa: E731
    return jax.value_and_grad(exact)(jnp.log(STUDENT))


def test_the_scaled_jensen_shannon_runs_from_one_kl_to_the_other():
    """.103352 at beta .3, over .21; the KLs are .498224 and .584996."""
    np.testing.assert_allclose(of(multiple.generalized_js(0.3))[0], 0.103352 / 0.21, atol=3e-6)
    for beta, end in ((1e-3, generator.ForwardKL()), (1 - 1e-3, generator.ReverseKL())):
        for got, expected in zip(of(multiple.generalized_js(beta)), of(end), strict=True):
            np.testing.assert_allclose(got, expected, atol=2e-3)


def test_a_squared_temperature_keeps_the_size_of_the_gradient():
    """Near the teacher logits pull as p_v (z_v - z'_v) / tau^2 at temperature tau: all alike at tau 50."""
    student, teacher = jnp.array([0.3, -0.1, 0.2]), jnp.zeros(3)

    def pull(tau):
        one = multiple.Multiple(generator.ForwardKL(), tau**2)
        return jax.grad(lambda z: divergence.exact(one, *(jax.nn.log_softmax(x / tau) for x in (z, teacher))))(student)

    np.testing.assert_allclose(pull(50.0), (student - student.mean()) / 3, rtol=0.01)


def test_nothing_is_refused():
    with pytest.raises(ValueError, match=r"factor=0\.0"):
        multiple.Multiple(generator.ForwardKL(), 0.0)
    with pytest.raises(ValueError, match=r"beta=1\.0 mixes nothing"):
        multiple.generalized_js(1.0)
