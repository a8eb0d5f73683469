import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import dual, generator, power

Q = jnp.array([1.0, 0.0, 2.0, -1.0])


def test_worked_value_of_chi_squared():
    value = jnp.float32(5 / 6)
    loss = lambda v: jnp.mean(dual.chi_squared_loss(Q, jnp.broadcast_to(v, Q.shape), mix=0.6))  # noqa: E731
    np.testing.assert_allclose(loss(value), 0.385417, atol=1e-6)
    np.testing.assert_allclose(jax.grad(loss)(value), 0, atol=1e-6)
    gaps = Q - value
    np.testing.assert_allclose(0.6 * jnp.mean(jnp.where(gaps > 0, 1 + gaps / 2, 0)), 0.4, rtol=1e-6)


def test_total_variation_is_at_rest_between_the_order_statistics():
    """lambda .8: the quantile at .75, any V between 1 and 2."""
    loss = lambda v: float(jnp.mean(dual.total_variation_loss(Q, jnp.full(4, v), mix=0.8)))  # noqa: E731
    np.testing.assert_allclose(loss(1.2), loss(1.9), rtol=1e-5)
    assert loss(0.8) > loss(1.0) - 1e-6
    assert loss(0.5) > loss(1.5) + 0.01
    assert loss(2.3) > loss(1.5) + 0.01


def test_under_the_kl_values_are_the_soft_maximum():
    """lambda 2: 2 log mean exp(Q / 2) for Q = (1, 0, 2, -1); and far above it only the limit counts."""
    value = 2 * jax.nn.logsumexp(Q / 2) - 2 * jnp.log(4.0)
    np.testing.assert_allclose(value, 2 * np.log(np.mean(np.exp([0.5, 0, 1, -0.5]))), rtol=1e-6)
    loss = lambda v: jnp.mean(dual.kl_loss(Q, jnp.broadcast_to(v, Q.shape), scale=2.0))  # noqa: E731
    np.testing.assert_allclose(jax.grad(loss)(value), 0, atol=1e-6)
    assert loss(value) < min(loss(value - 0.1), loss(value + 0.1))
    np.testing.assert_allclose(dual.kl_loss(jnp.float32(90.0), jnp.float32(0.0), scale=2.0), np.exp(5) - 6, rtol=1e-6)


def test_larger_mix_moves_towards_the_largest():
    def minimum(mix):
        grid = jnp.linspace(-2, 3, 2001)
        each = jax.vmap(lambda v: jnp.mean(dual.chi_squared_loss(Q, jnp.full(4, v), mix=mix)))(grid)
        return float(grid[jnp.argmin(each)])

    assert minimum(0.4) < minimum(0.5) < minimum(0.7) < 2
    np.testing.assert_allclose([minimum(0.85), minimum(0.99)], 2, atol=3e-3)


def test_the_surrogate_stays_zero_far_below_and_q_is_not_differentiated():
    np.testing.assert_allclose(dual.chi_squared_loss(jnp.float32(0.0), jnp.float32(10.0), mix=1.0), 0)
    assert float(jax.grad(lambda q: dual.chi_squared_loss(q, jnp.float32(0.0), mix=0.5))(jnp.float32(1.0))) == 0


def test_worked_weights():
    got = dual.advantage_weights(Q, jnp.full(4, 0.5), sharpness=3.0)
    np.testing.assert_allclose(got, [4.481689, 0.223130, 90.017131, 0.011109], rtol=1e-4)
    np.testing.assert_allclose(dual.advantage_weights(Q, jnp.full(4, -9.0), sharpness=3.0)[2], 100.0)


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("divergence", [power.ChiSquared(), generator.ReverseKL(), generator.ForwardKL()])
def test_the_bound_of_mixtures_is_tight_at_its_best_score(divergence, share):
    """Four options; expectations as means over samples that come exactly as often as they are likely.

    With share 1 it is the divergence from the expert alone.
    """
    policy, data, expert = (np.array(x) for x in ([4, 3, 2, 1], [1, 1, 4, 4], [5, 3, 1, 1]))
    mix, ours = share * expert + (1 - share) * data, share * policy + (1 - share) * data
    scores = divergence.derivative(jnp.log(jnp.asarray(ours / mix, jnp.float32)))
    exact = float(jnp.sum(divergence.terms(jnp.log(jnp.asarray(ours / 10)), jnp.log(jnp.asarray(mix / 10)))))

    def bound(scores):
        sampled = [jnp.repeat(scores, np.asarray(counts, int)) for counts in (policy, data, 2 * mix)]
        return float(dual.mixture_bound(divergence, *sampled, share=share))

    np.testing.assert_allclose(bound(scores), exact, rtol=1e-5)
    for seed in range(5):
        assert bound(scores + 0.05 * jax.random.normal(jax.random.key(seed), (4,))) < exact
