"""What each recipe converges to, where theory says it: three completions with known rewards, all pairs, no sampling."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import groups, stats

from posttrain_jax.losses import power
from posttrain_jax.recipes.preference.chi_po import ChiPO
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.f_dpo import FDPO
from posttrain_jax.recipes.preference.ipo import IPO
from posttrain_jax.recipes.preference.plackett_luce_dpo import PlackettLuceDPO
from posttrain_jax.recipes.preference.robust_dpo import RobustDPO

REWARDS = np.array([0.3, 0.0, -0.4])
REF = np.array([0.2, 0.5, 0.3])
BETA = 0.5


def win(noise=0.0):
    """Probability that the first is called better than the second (Bradley and Terry), labels flipped with `noise`."""
    right = 1 / (1 + np.exp(-(REWARDS[:, None] - REWARDS[None, :])))
    return right + noise * (1 - 2 * right)


def gradient(recipe, probs, rankings, weights):
    """Gradient by the logits of the mean loss over `rankings` of the completions, of one token each."""
    rankings = jnp.array(rankings)
    ref_logps = jnp.log(jnp.asarray(REF, jnp.float32))[rankings][..., None]
    batch = recipe.credit(groups(jnp.ones(ref_logps.shape, bool)), ref_logps)
    batch = dataclasses.replace(batch, pair_weights=batch.pair_weights * jnp.asarray(weights, jnp.float32))

    def loss(logits):
        logps = jax.nn.log_softmax(logits)[rankings][..., None]
        return recipe.loss(stats(logps), batch)[0]

    return jax.grad(loss)(jnp.log(jnp.asarray(probs, jnp.float32)))


def check(recipe, probs, noise=0.0):
    """The gradient over all labelled pairs rests at `probs`, and not at the reference."""
    pairs = list(itertools.permutations(range(3), 2))
    weights = [win(noise)[pair] for pair in pairs]
    np.testing.assert_allclose(gradient(recipe, probs, pairs, weights), 0, atol=1e-6)
    assert abs(gradient(recipe, REF, pairs, weights)).max() > 1e-3


def normalised(shape):
    """REF shape((r - Z) / beta), with the Z that makes it add up to 1."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (REF * shape((REWARDS - middle) / BETA)).sum() > 1 else (low, middle)
    return REF * shape((REWARDS - middle) / BETA)


def inverse(score):
    """The ratio z at which the score of log z is x, by bisection."""

    def at(x):
        low, high = np.full(3, -18.0), np.full(3, 18.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = score(middle) < x
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.exp(middle)

    return at


TILTED = normalised(np.exp)


def test_dpo_finds_the_tilted_reference():
    check(DPO(beta=BETA), TILTED)


def test_robust_dpo_finds_it_through_flipped_labels_and_cdpo_does_not():
    check(RobustDPO(beta=BETA, label_noise=0.2), TILTED, noise=0.2)
    with pytest.raises(AssertionError):
        check(DPO(beta=BETA, label_noise=0.2), TILTED, noise=0.2)


def test_f_dpo_finds_the_optimum_under_its_divergence():
    check(FDPO(power.Alpha(0.5), beta=BETA), normalised(inverse(lambda a: 2 - 2 * np.exp(-a / 2))))


def test_chi_po_finds_lamberts_function_of_the_reward():
    check(ChiPO(beta=BETA, max_reward=5.0), normalised(inverse(lambda a: np.exp(a) + a)))


def test_ipo_finds_the_reference_tilted_by_the_win_rates():
    tilted = REF * np.exp(win().mean(axis=1) / BETA)
    check(IPO(beta=BETA), tilted / tilted.sum())


def test_rankings_find_the_tilted_reference():
    rankings = list(itertools.permutations(range(3)))
    odds = np.exp(REWARDS)
    weights = [odds[a] / odds.sum() * odds[b] / (odds[b] + odds[c]) for a, b, c in rankings]
    np.testing.assert_allclose(gradient(PlackettLuceDPO(beta=BETA), TILTED, rankings, weights), 0, atol=1e-6)
