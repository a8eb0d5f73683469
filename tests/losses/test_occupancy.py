import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import generator, occupancy, power

POLICY, REF = (jax.nn.softmax(jnp.array(x)) for x in ([0.5, -0.2, 0.1, -0.7], [0.0, 0.4, -0.3, 0.2]))


def chi2(logits):
    policy = jax.nn.softmax(logits)
    return jnp.sum(policy**2 / REF) - 1


def test_the_worked_value_and_gradient():
    logits = jnp.log(POLICY)
    np.testing.assert_allclose(chi2(logits), 0.349849, atol=1e-6)
    np.testing.assert_allclose(jax.grad(chi2)(logits), [0.368540, -0.301454, 0.153756, -0.220841], atol=1e-6)
    ours = jnp.sum(power.ChiSquared().terms(logits, jnp.log(REF)))
    np.testing.assert_allclose(ours, 0.349849, atol=1e-6)


def test_the_estimate_is_unbiased_without_trimming():
    """Every option as often as the policy draws it: 1000 draws without noise."""
    counts = np.array([4, 3, 2, 1])
    policy = counts / 10
    ref = np.array([0.1, 0.2, 0.3, 0.4])
    drawn = jnp.asarray(np.repeat(np.log(policy / ref), counts), jnp.float32)[None]
    got = occupancy.chi_squared(drawn, jnp.ones_like(drawn, bool), trim=0.0)
    np.testing.assert_allclose(got, np.sum(policy**2 / ref) - 1, rtol=1e-6)


def test_outliers_and_what_does_not_count_are_left_out():
    log_ratios = jnp.log(jnp.concatenate([jnp.full(98, 2.0), jnp.array([1e8, 1e-8]), jnp.array([1e9])]))[None]
    counted = jnp.arange(101)[None] < 100
    np.testing.assert_allclose(occupancy.chi_squared(log_ratios, counted, trim=0.02), 1.0, rtol=1e-5)


def test_the_penalty_as_a_reward_has_the_gradient_of_the_root():
    """E_pi[(u - 1) / sqrt(chi2) grad log pi] = grad sqrt(chi2), all options listed with their probabilities."""
    logits = jnp.log(POLICY)
    rewards = jnp.expm1(logits - jnp.log(REF)) / jnp.sqrt(chi2(logits))
    score = jax.jacobian(jax.nn.log_softmax)(logits)
    got = jnp.sum((POLICY * rewards)[:, None] * score, axis=0)
    np.testing.assert_allclose(got, jax.grad(lambda x: jnp.sqrt(chi2(x)))(logits), atol=1e-6)
    equal = jnp.log(jnp.array([[2.0, 2.0]]))
    np.testing.assert_allclose(occupancy.penalty(equal, jnp.ones((1, 2), bool)), 1.0, rtol=1e-6)


def test_the_loss_of_the_authors_code_has_another_gradient():
    """mean(u + 1/u - 2) over samples of pi, differentiated inside: half of chi2's gradient and forward KL's."""
    logits = jnp.log(POLICY)

    def loss(logits):
        ell = jax.nn.log_softmax(logits) - jnp.log(REF)
        return jnp.sum(POLICY * (jnp.expm1(ell) + jnp.expm1(-ell)))

    np.testing.assert_allclose(loss(logits), chi2(logits), rtol=1e-5)  # E_pi[1/u - 1] is 0
    wanted = [0.364925, -0.284463, 0.182147, -0.262609]
    np.testing.assert_allclose(jax.grad(loss)(logits), wanted, atol=1e-6)
    forward = jax.grad(lambda x: jnp.sum(generator.ForwardKL().terms(jax.nn.log_softmax(x), jnp.log(REF))))(logits)
    np.testing.assert_allclose(jax.grad(loss)(logits), jax.grad(chi2)(logits) / 2 + forward, atol=1e-6)


def test_at_the_reference_nothing_is_divided_by_nothing():
    np.testing.assert_array_equal(occupancy.penalty(jnp.zeros((2, 3)), jnp.ones((2, 3), bool)), 0)


def mean(x, probs):
    return float(np.sum(probs * x))


def std(x, probs):
    return np.sqrt(mean((x - mean(x, probs)) ** 2, probs))


def test_the_bound_holds_on_random_problems():
    generate, checked = np.random.default_rng(0), 0
    for _ in range(200):
        ref, policy = generate.dirichlet(np.ones(6)), generate.dirichlet(np.ones(6))
        truth, noise = generate.normal(size=(2, 6))
        proxy = noise + 2 * truth
        product = (truth - mean(truth, ref)) * (proxy - mean(proxy, ref))
        rho = mean(product, ref) / (std(truth, ref) * std(proxy, ref))
        if rho > 0.05:
            checked += 1
            gained = (mean(truth, policy) - mean(truth, ref)) / std(truth, ref)
            chi = jnp.float32(np.sum((policy - ref) ** 2 / ref))
            proxy_gain = jnp.float32(mean(proxy, policy) - mean(proxy, ref))
            bound = occupancy.true_gain_bound(proxy_gain, chi, proxy_std=std(proxy, ref), correlation=rho)
            assert gained >= float(bound) - 1e-4
    assert checked > 100


def test_the_coefficient():
    np.testing.assert_allclose(occupancy.coefficient(proxy_std=2.0, correlation=0.6), 1.6, rtol=1e-6)
    assert occupancy.coefficient(proxy_std=2.0, correlation=1.0) == 0
    with pytest.raises(ValueError, match="correlation=0"):
        occupancy.coefficient(proxy_std=1.0, correlation=0.0)
