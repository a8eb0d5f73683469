"""Adaptive KL by its worked number, and on the student's own completions."""

import jax
import jax.numpy as jnp
import numpy as np
from whole_vocabulary import groups, stats

from posttrain_jax.losses import adaptive, weight
from posttrain_jax.recipes.distillation import akl
from posttrain_jax.recipes.distillation.gkd import GKD

TEACHER = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1]))[None, None, None]
MASK = jnp.array([[[True, True, False]], [[True, False, False]]])


def test_the_worked_number_and_its_gradient():
    """w = .375: the forward KL pulls p - q, the reverse one p (log(p / q) - its mean)."""
    recipe, student = akl.akl(), jnp.zeros((*MASK.shape, 4))
    batch = recipe.credit(groups(MASK))

    def loss(x):
        return recipe.loss(stats(recipe, batch, x, {"teacher": TEACHER}), batch)[0]

    value, gradient = jax.value_and_grad(loss)(student)
    np.testing.assert_allclose(value, 0.116026, atol=1e-6)
    p, q = np.full(4, 0.25), np.exp(TEACHER[0, 0, 0])
    slopes = np.log(p / q)
    expected = 0.375 * (p - q) + 0.625 * p * (slopes - p @ slopes)
    np.testing.assert_allclose(gradient, np.where(MASK[..., None], expected / 3, 0), atol=1e-6)


def test_it_is_gkd_by_tokens():
    assert akl.akl(0.3) == GKD(adaptive.AKL(0.3), average=weight.token_mean)
