import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import power
from posttrain_jax.recipes.likelihood.fenchel_sft import FenchelSFT
from posttrain_jax.recipes.likelihood.sft import SFT

SCORES = jnp.array([[1.0, 0.0, 2.0, -1.0]])
LOOKUP = types.Lookup(lambda *_: fx.POLICY, lambda *_: fx.POLICY, jax.random.key(0))


def weights(recipe, scores=SCORES):
    batch, _ = recipe.credit(fx.ROLLOUT.groups, {"scores": scores}, LOOKUP, recipe.init_memory())
    return batch, batch.advantages[0, :, 0]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (FenchelSFT(1.0), [0.947531, 0.348577, 2.575657, 0.128234]),
        (FenchelSFT(1.0, power.ChiSquared()), [1.25, 0.75, 1.75, 0.25]),
        (FenchelSFT(0.5, power.ChiSquared()), [1.333333, 0.333333, 2.333333, 0.0]),
    ],
)
def test_worked_weights(recipe, expected):
    np.testing.assert_allclose(weights(recipe)[1], expected, atol=1e-5)


def test_the_loss_and_its_gradient_are_weighted_likelihood():
    recipe = FenchelSFT(1.0)
    batch, each = weights(recipe)
    loss, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)
    sums = np.where(fx.MASK, fx.LOGPS, 0).sum(-1)[0]
    np.testing.assert_allclose(loss, -(np.asarray(each) * sums).mean(), rtol=1e-6)
    np.testing.assert_allclose(gradient.logps, np.where(fx.MASK, -np.asarray(each)[None, :, None] / 4, 0), rtol=1e-6)


def test_a_dear_divergence_is_sft_by_sequence():
    recipe, plain = FenchelSFT(1e4), SFT()
    batch, each = weights(recipe)
    np.testing.assert_allclose(each, 1.0, atol=1e-3)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY).logps
    expected = jax.grad(lambda policy: plain.loss(policy, plain.credit(fx.ROLLOUT.groups))[0])(fx.POLICY).logps
    # SFT averages tokens, this completions
    np.testing.assert_allclose(gradient / gradient[0, 0, 0], expected / expected[0, 0, 0], atol=1e-3)


def test_failed_scores_leave_and_the_rest_average_one():
    _, each = weights(FenchelSFT(1.0), jnp.array([[1.0, jnp.nan, 2.0, -1.0]]))
    np.testing.assert_allclose(each[1], 0)
    np.testing.assert_allclose(np.sum(each) / 3, 1, rtol=1e-5)


def test_rows_without_scores_are_still_and_finite():
    batch, each = weights(FenchelSFT(1.0), jnp.full((1, 4), jnp.nan))
    np.testing.assert_array_equal(each, 0)
    np.testing.assert_array_equal(batch.token_weights, 0)


def test_the_column_is_named_where_it_is_missing():
    with pytest.raises(ValueError, match="reads the column 'scores'"):
        FenchelSFT(1.0).credit(fx.ROLLOUT.groups, {}, LOOKUP, ())
