"""GKD against its golden numbers, its limits, and its gradients in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import STUDENT, TEACHER, golden, groups, rollout, stats

from posttrain_jax import types
from posttrain_jax.losses import generator, weight
from posttrain_jax.recipes.distillation.gkd import GKD
from posttrain_jax.recipes.distillation.on_policy import OnPolicy

MASK = jnp.array([[[True, True, True]], [[True, False, False]]])


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [
        (generator.GeneralizedJS(1 - 0.5), 0.125101),
        (generator.GeneralizedJS(1 - 0.1), 0.044421),
        (generator.GeneralizedJS(1 - 0.3), 0.103352),
        (generator.Reversed(generator.GeneralizedJS(0.9)), 0.050030),
        (generator.ForwardKL(), 0.498224),
        (generator.ReverseKL(), 0.584996),
    ],
)
def test_worked_numbers(divergence, expected):
    np.testing.assert_allclose(golden(GKD(divergence))[0], expected, atol=1e-6)


def test_gradients_in_closed_form():
    p, q = np.array(STUDENT), np.array(TEACHER)
    np.testing.assert_allclose(golden(GKD(generator.ForwardKL()))[1], p - q, atol=1e-6)
    slopes = np.log(p / q)
    np.testing.assert_allclose(golden(GKD(generator.ReverseKL()))[1], p * (slopes - p @ slopes), atol=1e-6)


@pytest.mark.parametrize(("beta", "limit"), [(1e-3, generator.ForwardKL()), (1 - 1e-3, generator.ReverseKL())])
def test_the_ends_of_beta_are_the_two_divergences_scaled(beta, limit):
    value, gradient = golden(GKD(generator.GeneralizedJS(1 - beta)))
    expected, expected_gradient = golden(GKD(limit))
    scale = min(beta, 1 - beta)
    np.testing.assert_allclose(value / scale, expected, rtol=5e-3)
    np.testing.assert_allclose(gradient / scale, expected_gradient, atol=5e-3)


def test_beta_stands_before_the_teacher():
    one, two = GKD(generator.GeneralizedJS(1 - 0.3)), GKD(generator.Reversed(generator.GeneralizedJS(0.3)))
    for x, y in zip(golden(one), golden(two), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_completions_or_tokens_weigh_alike():
    recipe = GKD(generator.ForwardKL())
    student, teacher = jax.random.normal(jax.random.key(0), (2, *MASK.shape, 5))
    batch = recipe.credit(groups(MASK))
    policy = stats(recipe, batch, student, {"teacher": teacher})
    values = policy.divergences["teacher"]
    expected = (values[0, 0].mean() + values[1, 0, 0]) / 2
    np.testing.assert_allclose(recipe.loss(policy, batch)[0], expected, rtol=1e-6)
    by_token = GKD(generator.ForwardKL(), average=weight.token_mean)
    np.testing.assert_allclose(by_token.loss(policy, by_token.credit(groups(MASK)))[0], values.sum() / 4, rtol=1e-6)
    alike = stats(recipe, batch, student, {"teacher": student})
    np.testing.assert_allclose(recipe.loss(alike, batch)[0], 0, atol=1e-7)


def test_the_temperature_is_the_recipes_own():
    recipe = GKD(generator.ForwardKL(), temperature=2.0)
    (compared,) = recipe.comparisons(recipe.credit(groups(MASK))).values()
    assert compared.temperature == 2.0
    assert compared.logits == {"teacher": 1.0}


def test_own_completions_are_distilled_like_given_ones_unless_their_scoring_failed():
    inner = GKD(generator.ForwardKL())
    recipe = OnPolicy(inner)
    student, teacher = jax.random.normal(jax.random.key(1), (2, *MASK.shape, 5))
    given = inner.credit(groups(MASK))
    nothing = types.TokenStats(jnp.zeros(MASK.shape), jnp.zeros(MASK.shape))
    lookup = types.Lookup(lambda *_: nothing, lambda *_: nothing, jax.random.key(0))
    batch, _ = recipe.credit(rollout(MASK), jnp.array([[1.0], [0.0]]), {}, lookup, recipe.init_memory())
    np.testing.assert_array_equal(batch.token_weights, given.token_weights)
    policy = stats(recipe, batch, student, {"teacher": teacher})
    np.testing.assert_array_equal(recipe.loss(policy, batch)[0], inner.loss(policy, given)[0])
    failed, _ = recipe.credit(rollout(MASK), jnp.array([[1.0], [jnp.nan]]), {}, lookup, ())
    np.testing.assert_allclose(recipe.loss(policy, failed)[0], policy.divergences["teacher"][0, 0].mean(), rtol=1e-6)
