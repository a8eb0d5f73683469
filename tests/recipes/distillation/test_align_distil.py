"""AlignDistil against its equation on whole distributions, by the worked example and by its limits."""

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.losses import divergence
from posttrain_jax.recipes.distillation.align_distil import AlignDistil

MASK = jnp.ones((1, 1, 1), bool)
GROUPS = types.Groups(
    prompts=jnp.zeros((1, 1), int),
    prompt_lengths=jnp.ones(1, int),
    completions=jnp.zeros((1, 1, 1), int),
    completion_lengths=jnp.ones((1, 1), int),
    completion_mask=MASK,
    group_ids=jnp.zeros(1, int),
)


def loss(recipe, student, dpo, negative):
    """The loss, and the teacher that `comparisons` describes."""
    log_dpo, log_negative = jax.nn.log_softmax(dpo), jax.nn.log_softmax(negative)
    variation = jnp.abs(jnp.exp(log_dpo) - jnp.exp(log_negative)).sum() / 2
    batch = recipe.credit(GROUPS, total_variations=jnp.full(MASK.shape, variation))
    (name, compared), *_ = recipe.comparisons(batch).items()
    weights = {role: float(coefficient[0, 0, 0]) for role, coefficient in compared.logits.items()}
    teacher = jax.nn.log_softmax(weights["dpo"] * dpo + weights["reverse_dpo"] * negative)
    kl = divergence.exact(compared.divergence, jax.nn.log_softmax(student), teacher)
    zeros = jnp.zeros(MASK.shape)
    policy = types.TokenStats(zeros, zeros, divergences={name: jnp.full(MASK.shape, kl)})
    value, metrics = recipe.loss(policy, batch)
    return value, jnp.exp(teacher), metrics


def test_one_token_by_hand():
    student, dpo, negative = (jnp.array(x) for x in ([0.5, 0.2, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]))
    value, teacher, metrics = loss(AlignDistil(extrapolation=1.0), student, dpo, negative)
    np.testing.assert_allclose(metrics["alpha"], 0.842509, rtol=2e-6)
    np.testing.assert_allclose(teacher, [0.879941, 0.060030, 0.060030], rtol=2e-5)
    np.testing.assert_allclose(metrics["teacher_kl"], 0.591906, rtol=1e-5)
    np.testing.assert_allclose(value, 0.070255, rtol=2e-5)


def test_where_both_agree_the_teacher_is_the_dpo_model():
    student, dpo = jnp.array([0.5, 0.2, 0.0]), jnp.array([1.0, 0.0, 0.0])
    value, teacher, metrics = loss(AlignDistil(), student, dpo, dpo)
    np.testing.assert_allclose(teacher, jax.nn.softmax(dpo), rtol=1e-5)
    np.testing.assert_allclose(value, 100 * metrics["teacher_kl"][0, 0, 0], rtol=1e-4)
