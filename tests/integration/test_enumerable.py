"""The problems of `experiments/preference_frontier.py`: DPO finds the optimum that theory gives."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import posttrain_jax as pt
from posttrain_jax.losses import tilting
from posttrain_jax.recipes.preference import dpo, robust_dpo, sparse_po, tdpo1, tgdpo

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENTS = str(ROOT / "experiments")
LEFT_OUT = {
    "OnlinePreference",
    "TRPA",
    "OnlineKLDPO",
    "GPO",
    "OnlineIPO1",
    "OnlineIPO2",
    "DNOPrct",
    "MAPL",
    "RationalePO",
}
"""Recipes of preferences that the frontier does not train; its page says why."""
SCORED = {"scores": jnp.zeros((1, 2))}


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import preference_training

    yield preference_training
    for name in ("enumerable", "preference_rows", "preference_setting", "preference_training"):
        del sys.modules[name]


def end(training, recipe, noise):
    given = training.enumerable.problem(jax.random.key(0), 2, 3)
    data = training.enumerable.rankings(given, jax.random.key(1), 20_000, noise)
    setting = training.Setting(recipe)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        logits = training.train(setting, given, data, jax.random.key(2), steps=300, rows=500, rate=0.05)
    return given, jax.nn.softmax(logits[-1])


def test_dpo_finds_the_tilted_reference(training):
    given, policy = end(training, dpo.DPO(beta=1.0), 0.0)
    best = jnp.exp(tilting.tilted(given.ref_log_probs, given.rewards, 1.0))
    assert np.abs(best - jnp.exp(given.ref_log_probs)).max() > 0.2
    np.testing.assert_allclose(policy, best, atol=0.04)


def test_robust_dpo_finds_it_from_noisy_pairs_and_dpo_does_not(training):
    given, robust = end(training, robust_dpo.RobustDPO(beta=1.0, label_noise=0.2), 0.2)
    best = jnp.exp(tilting.tilted(given.ref_log_probs, given.rewards, 1.0))
    np.testing.assert_allclose(robust, best, atol=0.07)
    _, plain = end(training, dpo.DPO(beta=1.0), 0.2)
    assert np.abs(plain - best).max() > 0.1


def test_noise_turns_rankings_round(training):
    given = training.enumerable.problem(jax.random.key(0), 2, 5)
    right, wrong = (training.enumerable.rankings(given, jax.random.key(1), 500, noise, 3) for noise in (0.0, 1.0))
    np.testing.assert_array_equal(right["responses"], wrong["responses"][:, ::-1])
    assert jnp.mean(right["scores"][:, 0]) > jnp.mean(right["scores"][:, 1]) > jnp.mean(right["scores"][:, 2])


def test_pairs_taken_apart_are_single_completions(training):
    given = training.enumerable.problem(jax.random.key(0), 2, 3)
    data = training.enumerable.rankings(given, jax.random.key(1), 4, 0.0)
    groups, columns = sys.modules["preference_rows"].apart(data)
    np.testing.assert_array_equal(groups.completions[:, 0, 0].reshape(4, 2), data["responses"])
    np.testing.assert_array_equal(groups.prompts[::2, 0], data["prompts"])
    np.testing.assert_array_equal(columns["desirable"].reshape(4, 2), [[1, 0]] * 4)


def test_the_guide_is_trained_before(training):
    """By a guide that is the reference TGDPO is DPO: here it is not, and goes further."""
    given = training.enumerable.problem(jax.random.key(0), 2, 3)
    data = training.enumerable.rankings(given, jax.random.key(1), 2000, 0.0)
    plain, ref = training.Setting(dpo.DPO(beta=1.0)), given.ref_log_probs
    guided = training.Setting(tgdpo.TGDPO(beta=1.0), guide=plain)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        ends = [
            training.train(each, given, data, jax.random.key(2), steps=50, rows=200, rate=0.05)[-1]
            for each in (plain, guided)
        ]
    moved = [float(jnp.mean(tilting.divergence(jax.nn.log_softmax(end), ref))) for end in ends]
    assert moved[1] > moved[0] > 0.01


def test_every_recipe_of_given_pairs_is_on_the_frontier(training):
    """A recipe that is exported and neither trained there nor named as left out is forgotten."""
    settings = sys.modules["preference_setting"].SETTINGS
    exported = {name for name in pt.__all__ if getattr(pt, name).__module__.startswith("posttrain_jax.recipes.pref")}
    trained = {type(setting.recipe).__name__ for setting in settings}
    assert exported == trained | LEFT_OUT
    assert not trained & LEFT_OUT
    page = (ROOT / "docs" / "preference_frontier.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2].strip() for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows == [sys.modules["preference_setting"].title(setting) for setting in settings]
    last = page[page.index("\nNot here") :]
    assert all(f"`{name}`" in last for name in LEFT_OUT)


def test_masks_of_prompts_are_learned_with_the_table(training):
    """SparsePO's move a policy that TDPO1, which has them at 1, leaves where DPO does."""
    given = training.enumerable.problem(jax.random.key(0), 2, 3)
    data = training.enumerable.rankings(given, jax.random.key(1), 2000, 0.0)
    told = {"steps": 30, "rows": 100, "rate": 0.05}
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        one, two, three = (
            training.train(training.Setting(recipe), given, data, jax.random.key(2), **told)[-1]
            for recipe in (dpo.DPO(beta=1.0), tdpo1.TDPO1(beta=1.0), sparse_po.SparsePO(beta=1.0))
        )
    np.testing.assert_allclose(two, one, atol=1e-5)
    assert np.abs(three - one).max() > 1e-2


def test_the_reference_asked_for_better_responses_is_tilted_by_the_rewards(training):
    rows, given = sys.modules["preference_rows"], training.enumerable.problem(jax.random.key(0), 2, 3)
    tables = rows.asked(given)
    np.testing.assert_allclose(tables[:2], given.ref_log_probs, atol=1e-6)
    np.testing.assert_allclose(tables[2:4], tilting.tilted(given.ref_log_probs, given.rewards, 1.0), atol=1e-6)
    np.testing.assert_allclose(tables[4:], tilting.tilted(given.ref_log_probs, -given.rewards, 1.0), atol=1e-6)
    _, columns = rows.compared(
        rows.known(given, {"prompts": jnp.array([1]), "responses": jnp.array([[2, 0]])} | SCORED)
    )
    np.testing.assert_array_equal([columns["better_prompt"][0, 0, 0], columns["worse_prompt"][0, 1, 0]], [3, 5])


def test_win_rates_are_probabilities_that_meet_in_the_middle(training):
    """Of two responses of the reference each beats the other half of the time."""
    given = training.enumerable.problem(jax.random.key(0), 4, 5)
    rates = sys.modules["preference_rows"].win_rates(given)
    np.testing.assert_allclose(jnp.sum(jnp.exp(given.ref_log_probs) * rates, axis=1), 0.5, atol=1e-6)
    best = jnp.argmax(given.rewards, axis=1)
    np.testing.assert_array_equal(jnp.argmax(rates, axis=1), best)
