"""The family of f-divergences: golden numbers, calculus of each generator, identities, closed-form gradients."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import divergence, generator, power, skew, variation

P, Q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
GOLDEN = [
    (generator.ReverseKL(), 0.498224),
    (generator.ForwardKL(), 0.584996),
    (generator.jensen_shannon(), 0.125101),
    (generator.GeneralizedJS(0.3), 0.103352),
    (generator.GeneralizedJS(0.1), 0.044421),
    (generator.GeneralizedJS(0.9), 0.050030),
    (skew.SkewedKL(0.1), 0.397169),
    (skew.SkewedReverseKL(0.1), 0.430559),
    (power.Alpha(0.3), 0.540025),
    (power.Alpha(0.5), 0.519932),
    (power.Alpha(0.7), 0.506669),
    (power.Alpha(1.5), np.sum(P**1.5 / Q**0.5) / 0.75 - 1 / 0.75),
    (power.Alpha(-0.5), np.sum(Q**1.5 / P**0.5) / 0.75 - 1 / 0.75),
    (power.ChiSquared(), 1.12),
    (power.Neyman(), 1.866667),
    (power.SquaredHellinger(), 0.129983),
    (variation.TotalVariation(), 0.4),
    (power.ChiSquaredKL(), 1.058224),
]
EVERY = [one for one, _ in GOLDEN]
INVERTIBLE = [one for one in EVERY if isinstance(one, generator.Generator)]
EACH = pytest.mark.parametrize("one", EVERY, ids=repr)
EACH_INVERTIBLE = pytest.mark.parametrize("one", INVERTIBLE, ids=repr)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def exact(one, p, q):
    return float(divergence.exact(one, jnp.log(jnp.asarray(p)), jnp.log(jnp.asarray(q))))


def f(one, u):
    log_u = jnp.log(jnp.asarray(u))
    return one.terms(log_u, jnp.zeros_like(log_u))


@pytest.mark.parametrize(("one", "expected"), GOLDEN, ids=lambda x: repr(x))
def test_golden_values(one, expected):
    np.testing.assert_allclose(exact(one, P, Q), expected, atol=6e-7)


@EACH
def test_the_gauge_makes_every_term_positive_and_flat_at_1(one):
    u = np.exp(np.linspace(-6, 4, 41))
    assert (np.asarray(f(one, u)) >= 0).all()
    np.testing.assert_allclose(f(one, np.ones(1)), 0, atol=1e-15)
    np.testing.assert_allclose(one.derivative(jnp.zeros(1)), 0, atol=1e-15)


@EACH
def test_derivatives_are_those_of_f(one):
    u = np.array([0.05, 0.4, 0.97, 1.02, 2.0, 7.0])
    slopes = jax.vmap(jax.grad(lambda x: f(one, x)))(jnp.asarray(u))
    np.testing.assert_allclose(one.derivative(jnp.log(u)), slopes, rtol=1e-9)
    log_p, log_q = jnp.log(jnp.asarray(u) / 9), jnp.full(6, -2.0)
    by_terms = jax.vmap(jax.grad(one.terms))(log_p, log_q)
    np.testing.assert_allclose(one.slopes(log_p, log_q), by_terms, rtol=1e-9)


@EACH
def test_derivatives_at_the_ends_and_bounds(one):
    assert np.all(np.diff(one.derivative(jnp.linspace(-8.0, 8.0, 33))) >= 0)
    low, high = (float(one.derivative(jnp.float64(x))) for x in (-18.0, 18.0))
    for value, end in ((low, one.derivative_at_zero), (high, one.derivative_at_infinity)):
        assert abs(value) > 1.5 if math.isinf(end) else value == pytest.approx(end, abs=0.02)
    apart = exact(one, [1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9])
    assert apart == pytest.approx(one.bound, rel=0.02) if math.isfinite(one.bound) else apart > 5
    assert exact(one, P, Q) < one.bound


@EACH_INVERTIBLE
def test_inverses_and_conjugates(one):
    u = jnp.asarray([0.05, 0.4, 1.0, 2.0, 7.0])
    y = one.derivative(jnp.log(u))
    np.testing.assert_allclose(one.inverse(y), u, rtol=1e-9)
    np.testing.assert_allclose(one.conjugate(y), u * y - f(one, u), rtol=1e-9, atol=1e-12)
    if math.isfinite(one.derivative_at_zero):
        below = jnp.asarray([one.derivative_at_zero - 1.0])
        np.testing.assert_allclose(one.inverse(below), 0)
        np.testing.assert_allclose(one.conjugate(below), -f(one, np.full(1, 1e-12)), rtol=1e-6)


SKEWED = [0.03, 0.9, 0.07]
IDENTITIES = [
    (power.Alpha(2.0), power.ChiSquared(), 2.0),
    (power.Alpha(-1.0), power.Neyman(), 2.0),
    (power.Alpha(0.5), power.SquaredHellinger(), 0.25),
    (power.Alpha(0.3), generator.Reversed(power.Alpha(0.7)), 1.0),
    (generator.GeneralizedJS(0.3), generator.Reversed(generator.GeneralizedJS(0.7)), 1.0),
    (generator.ReverseKL(), generator.Reversed(generator.ForwardKL()), 1.0),
    (power.ChiSquared(), generator.Reversed(power.Neyman()), 1.0),
    (power.SquaredHellinger(), generator.Reversed(power.SquaredHellinger()), 1.0),
]


@pytest.mark.parametrize(("one", "other", "factor"), IDENTITIES)
def test_members_that_are_one_another(one, other, factor):
    log_p, log_q = jnp.log(jnp.asarray(P)), jnp.log(jnp.asarray(SKEWED))
    for part in ("terms", "slopes"):
        ours, theirs = (getattr(x, part)(log_p, log_q) for x in (one, other))
        np.testing.assert_allclose(factor * ours, theirs, rtol=1e-9, atol=1e-12)


def test_limits():
    """alpha -> 1 and 0 are the KLs; gjs(b) / b -> KL(p || q), gjs(b) / (1 - b) -> KL(q || p); skews at 0 likewise."""
    kl, reverse = exact(generator.ReverseKL(), P, Q), exact(generator.ForwardKL(), P, Q)
    np.testing.assert_allclose(
        [exact(power.Alpha(1 + 1e-6), P, Q), exact(power.Alpha(1e-6), P, Q)], [kl, reverse], 1e-5
    )
    np.testing.assert_allclose(exact(generator.GeneralizedJS(1e-6), P, Q) / 1e-6, kl, rtol=1e-5)
    np.testing.assert_allclose(exact(generator.GeneralizedJS(1 - 1e-6), P, Q) / 1e-6, reverse, rtol=1e-5)
    np.testing.assert_allclose(exact(skew.SkewedKL(1e-7), P, Q), kl, rtol=1e-5)
    np.testing.assert_allclose(exact(skew.SkewedReverseKL(1e-7), P, Q), reverse, rtol=1e-5)


def test_easydels_mixture_is_another_number():
    """Its weights do not belong to its mixture: .181290 at beta = .3, where the divergence of that beta is .103352."""
    m = 0.7 * P + 0.3 * Q
    wrong = 0.3 * np.sum(P * np.log(P / m)) + 0.7 * np.sum(Q * np.log(Q / m))
    np.testing.assert_allclose(wrong, 0.181290, atol=6e-7)


def test_conventions():
    """f-DPO's alpha is 1 - a; its Jensen-Shannon is twice ours, f' up to a constant included."""
    alpha, log_u = 0.3, jnp.asarray([-1.0, 0.5, 2.0])
    np.testing.assert_allclose(power.Alpha.from_fdpo(alpha).derivative(log_u), (1 - jnp.exp(-alpha * log_u)) / alpha)
    theirs = jnp.log(2 * jnp.exp(log_u) / (1 + jnp.exp(log_u)))
    np.testing.assert_allclose(2 * generator.jensen_shannon().derivative(log_u), theirs, rtol=1e-12)


def test_renyi_is_a_function_of_alpha():
    for order in (0.5, 2.0, 3.0):
        renyi = power.Renyi(order)
        expected = np.log(np.sum(P**order * Q ** (1 - order))) / (order - 1)
        np.testing.assert_allclose(renyi.of(jnp.asarray(exact(renyi.divergence, P, Q))), expected, rtol=1e-9)
    np.testing.assert_allclose(power.Renyi(2.0).of(jnp.asarray(1.12 / 2)), np.log(2.12), rtol=1e-12)


@EACH
def test_gradients_with_respect_to_logits_of_either_side(one):
    """dD/dz_p = p (f' - sum p f') and dD/dz_q = q (h - sum q h), h = f - u f'; terms = slopes of both sides."""
    z_p, z_q = jnp.asarray([0.5, -0.2, 0.1, -0.7]), jnp.asarray([0.0, 0.4, -0.3, 0.2])
    p, q = jax.nn.softmax(z_p), jax.nn.softmax(z_q)

    def value(z_p, z_q):
        return divergence.exact(one, jax.nn.log_softmax(z_p), jax.nn.log_softmax(z_q))

    by_p, by_q = jax.grad(value, (0, 1))(z_p, z_q)
    first = one.derivative(jnp.log(p / q))
    second = f(one, p / q) - (p / q) * first
    np.testing.assert_allclose(by_p, p * (first - jnp.sum(p * first)), rtol=1e-9)
    np.testing.assert_allclose(by_q, q * (second - jnp.sum(q * second)), rtol=1e-9)
    np.testing.assert_allclose(generator.Reversed(one).slopes(jnp.log(q), jnp.log(p)), q * second, rtol=1e-9)


@EACH
def test_merging_entries_never_raises_a_divergence(one):
    rng = np.random.default_rng(0)
    for p, q in rng.dirichlet(np.full(6, 0.5), (8, 2)):
        merged = [np.concatenate([[x[0] + x[1]], x[2:]]) for x in (p, q)]
        assert exact(one, *merged) <= exact(one, p, q) * (1 + 1e-12)


@EACH
def test_impossible_entries(one):
    """Those that both sides lack add nothing; an entry that p lacks adds q f(0)."""
    log_p, log_q = jnp.log(jnp.asarray([*P, 0.0])), jnp.log(jnp.asarray([*Q, 0.0]))
    np.testing.assert_allclose(divergence.exact(one, log_p, log_q), exact(one, P, Q), rtol=1e-12)
    if not math.isinf(one.derivative_at_zero) or isinstance(one, generator.ReverseKL):
        p = np.array([0.7, 0.3, 0.0])
        at_zero = Q[2] * f(one, np.full(1, 1e-300))[0]
        expected = exact(one, [0.7, 0.3, 1e-300], Q)
        np.testing.assert_allclose(exact(one, p, Q), expected, rtol=1e-9)
        assert at_zero > 0


@pytest.mark.parametrize("make", [generator.GeneralizedJS, skew.SkewedKL, skew.SkewedReverseKL])
@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_shares_that_mix_nothing_are_refused(make, share):
    with pytest.raises(ValueError, match="mixes nothing"):
        make(share)


@pytest.mark.parametrize(
    ("make", "order"), [(power.Alpha, 0.0), (power.Alpha, 1.0), (power.Renyi, 1.0), (power.Renyi, 0.0)]
)
def test_orders_that_are_no_divergence_are_refused(make, order):
    with pytest.raises(ValueError, match="order"):
        make(order)


@EACH
def test_scores_of_far_ratios_stay_finite(one):
    """In float32, as the scores of f-DPO: f'(exp(a)) and its slope."""
    far = jnp.asarray([-1000.0, -50.0, 50.0, 1000.0], jnp.float32)
    values, slopes = jax.vmap(jax.value_and_grad(one.derivative))(far)
    assert values.dtype == jnp.float32
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()


def test_power_has_every_shape():
    x = jnp.asarray([1.0, -1.0])
    np.testing.assert_allclose(generator.power(x, alpha=0.0), x)
    np.testing.assert_allclose(generator.power(x, alpha=-1.0), jnp.exp(x) - 1, rtol=1e-6)
    np.testing.assert_allclose(generator.power(x, alpha=2.0), (1 - jnp.exp(-2 * x)) / 2, rtol=1e-6)


PI, REF, OLD = (
    np.exp(x) / np.exp(x).sum()
    for x in (np.array(y) for y in ([0.5, -0.2, 0.1, -0.7], [0, 0.4, -0.3, 0.2], [0.2, 0.1, 0, -0.4]))
)


@EACH
def test_sampled_values_losses_and_rewards_have_the_value_and_gradient_of_the_divergence(one):
    """In expectation over the four tokens, sampled by the policy itself and by an older one."""
    z, ref, old = (jnp.log(jnp.asarray(x)) for x in (PI, REF, OLD))
    value, gradient = jax.value_and_grad(lambda z: divergence.exact(one, jax.nn.log_softmax(z), ref))(z)
    np.testing.assert_allclose(jnp.sum(PI * divergence.sampled_value(one, z, ref)), value, rtol=1e-9)

    def on_policy(z):
        return jnp.sum(PI * divergence.sampled_loss(one, jax.nn.log_softmax(z), ref))

    def off_policy(z):
        logps = jax.nn.log_softmax(z)
        return jnp.sum(OLD * divergence.sampled_loss(one, logps, ref, logps - old))

    for estimate in (on_policy, off_policy):
        ours = jax.value_and_grad(estimate)(z)
        np.testing.assert_allclose(ours[0], value, rtol=1e-9)
        np.testing.assert_allclose(ours[1], gradient, rtol=1e-9, atol=1e-12)
    reward = divergence.sampled_reward(one, z, ref)
    scored = jax.grad(lambda z: jnp.sum(PI * reward * jax.nn.log_softmax(z)))(z)
    np.testing.assert_allclose(scored, gradient, rtol=1e-9, atol=1e-12)


def test_the_golden_position():
    z, ref = jnp.log(jnp.asarray(PI)), jnp.log(jnp.asarray(REF))
    kl = generator.ReverseKL()
    np.testing.assert_allclose(
        [exact(kl, PI, REF), exact(generator.ForwardKL(), PI, REF)], [0.1710346, 0.1786113], 1e-6
    )
    np.testing.assert_allclose(exact(power.ChiSquared(), PI, REF), 0.349849, atol=6e-7)
    gradient = jax.grad(lambda z: jnp.sum(PI * divergence.sampled_loss(kl, jax.nn.log_softmax(z), ref)))(z)
    np.testing.assert_allclose(gradient, [0.169900, -0.136952, 0.086728, -0.119676], atol=6e-7)
    np.testing.assert_allclose(divergence.sampled_value(kl, z, ref), divergence.k3_loss(z, ref), rtol=1e-9)
    np.testing.assert_allclose(divergence.sampled_reward(kl, z, ref), divergence.k1_value(z, ref), rtol=1e-9)
