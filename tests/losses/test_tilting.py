import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import tilting

REF = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
REWARDS = jnp.array([[0.0, 1.0, 2.0], [1.0, 1.0, -1.0]])


def test_two_responses_by_hand():
    log_probs = tilting.tilted(jnp.log(jnp.array([0.5, 0.5])), jnp.array([0.0, np.log(3.0)], jnp.float32), 1.0)
    np.testing.assert_allclose(jnp.exp(log_probs), [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(
        tilting.divergence(log_probs, jnp.log(jnp.array([0.5, 0.5]))), np.log(2) - 0.562335, rtol=1e-5
    )


def test_the_tilted_policy_maximises_reward_less_divergence():
    def objective(logits):
        log_probs = jax.nn.log_softmax(logits)
        return jnp.sum(tilting.expected(log_probs, REWARDS) - 0.7 * tilting.divergence(log_probs, REF))

    best = tilting.tilted(REF, REWARDS, 0.7)
    np.testing.assert_allclose(jax.grad(objective)(best), 0, atol=1e-6)
    # the value there is beta log E_ref[exp(r / beta)]
    value = 0.7 * jnp.sum(jax.nn.logsumexp(REF + REWARDS / 0.7, axis=-1))
    np.testing.assert_allclose(objective(best), value, rtol=1e-6)


def test_no_policy_lies_above_the_frontier():
    kls, rewards = tilting.frontier(REF, REWARDS, jnp.logspace(2, -1.5, 200))
    assert np.all(np.diff(kls) > -1e-6)
    for seed in range(20):
        policy = jax.nn.log_softmax(REF + jax.random.normal(jax.random.key(seed), REF.shape))
        kl = float(tilting.divergence(policy, REF).mean())
        assert float(tilting.expected(policy, REWARDS).mean()) <= np.interp(kl, kls, rewards) + 1e-3


def test_divergence_of_certain_responses():
    certain = jnp.array([0.0, -jnp.inf, -jnp.inf])
    np.testing.assert_allclose(tilting.divergence(certain, REF[0]), np.log(2), rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_is_that_of_all_draws_listed(n):
    for ref, rewards in zip(np.exp(REF), REWARDS, strict=True):
        expected = np.zeros(3)
        for draw in itertools.product(range(3), repeat=n):
            top = max(float(rewards[y]) for y in draw)
            winners = [y for y in draw if float(rewards[y]) == top]
            for y in winners:
                expected[y] += np.prod(ref[list(draw)]) / len(winners)
        got = jnp.exp(tilting.best_of_n(jnp.log(jnp.asarray(ref)), rewards, n))
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_the_bound_on_best_of_n_is_tight_for_small_probabilities():
    many = jnp.full(2000, -jnp.log(2000.0))
    kl = tilting.divergence(tilting.best_of_n(many, jnp.arange(2000.0), 4), many)
    np.testing.assert_allclose(tilting.best_of_n_bound(4), np.log(4) - 0.75, rtol=1e-6)
    np.testing.assert_allclose(kl, tilting.best_of_n_bound(4), rtol=2e-3)
    coarse = tilting.divergence(tilting.best_of_n(REF, REWARDS, 4), REF)
    assert np.all(coarse < tilting.best_of_n_bound(4))


def test_the_best_of_n_beats_a_single_sample_n_times_in_n_plus_1():
    """Where no response has much mass."""
    many = jnp.full(2000, -jnp.log(2000.0))
    for n in (1, 4, 9):
        best, below = jnp.exp(tilting.best_of_n(many, jnp.arange(2000.0), n)), (jnp.arange(2000.0) + 0.5) / 2000
        np.testing.assert_allclose(best @ below, n / (n + 1), atol=1e-3)


def test_the_gradient_of_reward_less_divergence():
    """-beta E[(log pi / ref - r / beta) grad log pi]: Korbak et al. 2022."""
    logits, beta = jnp.array([0.3, -0.2, 0.6]), 0.7

    def objective(logits):
        policy = jax.nn.log_softmax(logits)
        return tilting.expected(policy, REWARDS[0]) - beta * tilting.divergence(policy, REF[0])

    policy = jax.nn.log_softmax(logits)
    score = jnp.eye(3) - jnp.exp(policy)[None]
    weights = jnp.exp(policy) * (policy - REF[0] - REWARDS[0] / beta)
    np.testing.assert_allclose(jax.grad(objective)(logits), -beta * weights @ score, atol=1e-6)


def test_reward_less_divergence_is_divergence_from_the_tilted_policy():
    """E_pi[r] - beta KL(pi || ref) = beta log Z - beta KL(pi || pi*): Korbak et al. 2022."""
    policy, beta = jnp.log(jnp.array([0.4, 0.4, 0.2])), 1.0
    best, log_z = tilting.tilted(REF[0], REWARDS[0], beta), tilting.log_partition(REF[0], REWARDS[0], beta)
    np.testing.assert_allclose(log_z, 1.027222, atol=1e-6)
    left = tilting.expected(policy, REWARDS[0]) - beta * tilting.divergence(policy, REF[0])
    np.testing.assert_allclose(left, 0.774185, atol=1e-6)
    np.testing.assert_allclose(beta * log_z - beta * tilting.divergence(policy, best), left, rtol=1e-6)
    np.testing.assert_allclose(jnp.exp(best), [0.179000, 0.291944, 0.529056], atol=1e-6)
    np.testing.assert_allclose(tilting.divergence(best, REF[0]), 0.322834, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "pmf", "divergence"), [(2, [0.25, 0.39, 0.36], 0.140638), (4, [0.0625, 0.3471, 0.5904], 0.559751)]
)
def test_worked_best_of_n(n, pmf, divergence):
    best = tilting.best_of_n(REF[0], REWARDS[0], n)
    np.testing.assert_allclose(jnp.exp(best), pmf, atol=1e-5)
    np.testing.assert_allclose(tilting.divergence(best, REF[0]), divergence, atol=1e-5)
    assert float(tilting.divergence(best, REF[0])) < float(tilting.best_of_n_bound(n))


def test_the_weight_that_demonstrations_allow():
    assert tilting.demonstrated_kl_coef(2.0, error=0.1) == pytest.approx(0.05)
    assert tilting.demonstrated_kl_coef(0.2, error=0.1) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="bound nothing"):
        tilting.demonstrated_kl_coef(0.0, error=0.1)


def test_a_policy_near_the_regularised_optimum_is_near_the_expert():
    clone, expert = jnp.log(jnp.array([0.5, 0.3, 0.2])), jnp.log(jnp.array([0.1, 0.2, 0.7]))
    rewards, apart = jnp.array([0.0, 1.0, 2.0]), float(tilting.divergence(expert, clone))
    for error in (0.05, 0.2):
        best = tilting.tilted(clone, rewards, tilting.demonstrated_kl_coef(apart, error=error))
        assert tilting.expected(expert, rewards) - tilting.expected(best, rewards) <= error + 1e-6


def test_worked_rewards_of_the_tilted_policy_and_of_the_best_of_four():
    """beta 1: 1.350056, growing in 1 / beta by its variance .585517; the best of 4: 1.5279."""
    reward = lambda inverse: tilting.expected(tilting.tilted(REF[0], REWARDS[0], 1 / inverse), REWARDS[0])  # noqa: E731
    np.testing.assert_allclose(jax.value_and_grad(reward)(jnp.float32(1.0)), [1.350056, 0.585517], atol=2e-6)
    best = tilting.best_of_n(REF[0], REWARDS[0], 4)
    np.testing.assert_allclose(tilting.expected(best, REWARDS[0]), 1.5279, atol=1e-6)


def test_the_most_reward_within_a_budget():
    """0.322834 nats are what beta 1 costs on the worked rows; a budget that nothing exhausts leaves the best alone."""
    policy, inverse = tilting.within(REF[0], REWARDS[0], 0.322834)
    np.testing.assert_allclose(inverse, 1.0, atol=1e-5)
    np.testing.assert_allclose(jnp.exp(policy), [0.179000, 0.291944, 0.529056], atol=2e-6)
    policies, _ = tilting.within(REF, REWARDS, 0.1)
    np.testing.assert_allclose(tilting.divergence(policies, REF), 0.1, atol=1e-5)
    best, _ = tilting.within(REF[0], REWARDS[0], 5.0)
    np.testing.assert_allclose(jnp.exp(best), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(tilting.within(REF[0], jnp.ones(3), 0.5)[0], REF[0], atol=1e-6)
    with pytest.raises(ValueError, match="budget=0"):
        tilting.within(REF[0], REWARDS[0], 0.0)
