"""Games whose equilibrium is known, against the numbers of the papers' own recursions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import game

P = jnp.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
REF = jax.nn.log_softmax(jnp.array([0.5, 0.0, -0.5]))
NASH = np.array([0.410972, 0.207411, 0.381618])
BETA = 0.1


def distance(log_probs):
    return float(np.sum(NASH * (np.log(NASH) - np.asarray(log_probs))))


def test_the_equilibrium_is_its_own_best_answer():
    found = game.equilibrium(P, REF, beta=BETA)
    np.testing.assert_allclose(jnp.exp(found), NASH, atol=1e-6)
    np.testing.assert_allclose(game.best_response(P, found, REF, beta=BETA), found, atol=1e-5)
    assert abs(game.dual_gap(P, found, REF, beta=BETA)) < 1e-6
    assert game.dual_gap(P, REF, REF, beta=BETA) > 0.05


def test_a_policy_is_even_against_itself():
    for policy in (REF, jnp.log(jnp.array([0.2, 0.3, 0.5]))):
        np.testing.assert_allclose(game.value(P, policy, policy, REF, beta=BETA), 0.5, atol=1e-6)


def test_extragradient_steps():
    half, whole = game.extragradient_step(P, REF, REF, beta=BETA, rate=0.5)
    np.testing.assert_allclose(jnp.exp(half), [0.523114, 0.285134, 0.191752], atol=2e-6)
    np.testing.assert_allclose(jnp.exp(whole), [0.521600, 0.285082, 0.193318], atol=2e-6)
    policy = REF
    for number in range(1, 51):
        policy = game.extragradient_step(P, policy, REF, beta=BETA, rate=0.5)[1]
        if number in (1, 10, 50):
            assert distance(policy) == pytest.approx({1: 0.095594, 10: 0.036379, 50: 4.4502e-4}[number], abs=3e-6)


def test_nash_mirror_prox():
    rate, policy = game.mirror_prox_rate(beta=BETA, eta=0.2), REF
    for number in range(1, 31):
        half, policy = game.extragradient_step(P, policy, REF, beta=BETA, rate=rate)
        if number == 1:
            np.testing.assert_allclose(jnp.exp(half), [0.559191, 0.237547, 0.203262], atol=2e-6)
            np.testing.assert_allclose(jnp.exp(policy), [0.541946, 0.236813, 0.221241], atol=2e-6)
        if number == 1:  # the bound on the first step
            np.testing.assert_allclose(distance(REF) / (1 + 2 * BETA), 0.088541, atol=2e-6)
        if number in (1, 10):
            assert distance(policy) == pytest.approx({1: 0.066856, 10: 9.6895e-4}[number], abs=3e-6)
        assert distance(policy) <= (1 + 2 * BETA) ** -number * distance(REF) + 1e-6
    assert distance(policy) < 1e-6


def test_thirty_iterations_of_mirror_prox_and_of_plain_self_play():
    """In float64: 5.7e-8 nats from the equilibrium after 30 half and whole steps, 6.9e-5 after 30 against itself."""
    with jax.enable_x64(True):
        given, ref = jnp.asarray(np.asarray(P, np.float64).round(1)), jnp.array([0.5, 0.0, -0.5], jnp.float64)
        ref = jax.nn.log_softmax(ref)
        nash = game.equilibrium(given, ref, beta=BETA)
        prox, plain, rate = ref, ref, game.mirror_prox_rate(beta=BETA, eta=0.2)
        for _ in range(30):
            prox = game.extragradient_step(given, prox, ref, beta=BETA, rate=rate)[1]
            plain = game.step(given, plain, plain, ref, beta=BETA, rate=rate)
        apart = [float(jnp.sum(jnp.exp(nash) * (nash - x))) for x in (prox, plain)]
    np.testing.assert_allclose(apart, [5.7e-8, 6.9e-5], rtol=0.02)


def test_limits_of_the_step():
    best = game.step(P, REF, REF, REF, beta=BETA, rate=1 / BETA)
    np.testing.assert_allclose(best, game.best_response(P, REF, REF, beta=BETA), atol=1e-5)
    np.testing.assert_allclose(game.step(P, REF, best, REF, beta=BETA, rate=0.0), REF, atol=1e-6)


def test_a_minimax_winner_cannot_be_exploited():
    assert abs(game.exploitability(P, jnp.log(jnp.array([0.3, 0.3, 0.4])))) < 1e-6
    assert game.exploitability(P, REF) > 0.1
