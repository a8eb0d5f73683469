"""AlignDistil against its equation on whole distributions, by the worked examples and by its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import groups, rollout, stats

from posttrain_jax import comparison, types
from posttrain_jax.losses import divergence, generator
from posttrain_jax.recipes.distillation.align_distil import AlignDistil
from posttrain_jax.recipes.distillation.on_policy import OnPolicy

MASK = jnp.ones((1, 1, 1), bool)
STUDENT, DPO, NEGATIVE = (jnp.array(x)[None, None, None] for x in ([0.5, 0.2, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]))


def looked_up(models):
    """A lookup of models whose logits are given whole."""

    def ask(role):
        def answer(groups, kept_ids=None, comparisons=None):
            found = {
                name: divergence.exact(
                    one.divergence,
                    jax.nn.log_softmax(models[role]),
                    jax.nn.log_softmax(sum(weight * models[other] for other, weight in one.logits.items())),
                )
                for name, one in (comparisons or {}).items()
            }
            return types.TokenStats(jnp.zeros(MASK.shape), jnp.zeros(MASK.shape), divergences=found)

        return answer

    return types.Lookup(ask("dpo"), ask("dpo"), jax.random.key(0), {role: ask(role) for role in models})


def step(recipe, dpo=DPO, negative=NEGATIVE):
    """Loss, gradient by the student's logits, and metrics."""
    models = {"dpo": dpo, "reverse_dpo": negative}
    batch, _ = recipe.credit(groups(MASK), {}, looked_up(models), recipe.init_memory())

    def loss(student):
        return recipe.loss(stats(recipe, batch, student, models), batch)

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(STUDENT)
    return value, gradient, metrics


def kl(student, teacher):
    """KL(pi || teacher) of logits."""
    p, q = jax.nn.log_softmax(student), jax.nn.log_softmax(teacher)
    return jnp.sum(jnp.exp(p) * (p - q))


def test_one_token_by_hand():
    value, gradient, metrics = step(AlignDistil(extrapolation=1.0))
    np.testing.assert_allclose(metrics["alpha"], 0.841509 + 1e-3, rtol=2e-6)
    np.testing.assert_allclose(metrics["teacher_kl"], 0.591906, rtol=1e-5)
    np.testing.assert_allclose(value, 0.070255, rtol=2e-5)
    teacher = jnp.log(jnp.array([0.879941, 0.060030, 0.060030]))[None, None, None]
    np.testing.assert_allclose(gradient, 0.1 / 0.842509 * jax.grad(kl)(STUDENT, teacher), atol=1e-6)


def test_where_both_agree_it_is_distillation_of_the_dpo_model():
    value, gradient, metrics = step(AlignDistil(), negative=DPO)
    np.testing.assert_allclose(metrics["alpha"], 1e-3, rtol=1e-5)
    np.testing.assert_allclose(value, 100 * kl(STUDENT, DPO), rtol=1e-4)
    np.testing.assert_allclose(gradient, 100 * jax.grad(kl)(STUDENT, DPO), rtol=1e-3)


def test_without_extrapolation_the_teacher_is_nearly_the_dpo_model():
    value, gradient, metrics = step(AlignDistil(extrapolation=0.0))
    np.testing.assert_allclose(metrics["alpha"], 1e-3, rtol=1e-5)
    np.testing.assert_allclose(value, 100 * kl(STUDENT, DPO), rtol=0.02)
    np.testing.assert_allclose(gradient, 100 * jax.grad(kl)(STUDENT, DPO), rtol=0.02)


def test_the_reward_of_the_dpo_model_less_the_divergence_is_a_divergence_from_a_mixture_of_logits():
    """b_2 KL(pi || softmax(w z_dpo + (1 - w) z_ref)) = -E[b_1 log p_dpo/p_ref] + b_2 KL(pi || ref) + b_2 log Z."""
    ref, first, second = jnp.zeros((1, 1, 1, 3)), 0.1, 0.05
    weights = {"dpo": first / second, "ref": 1 - first / second}
    one = comparison.Comparison(generator.ReverseKL(), weights)
    teacher = sum(weights[role] * logits for role, logits in {"dpo": DPO, "ref": ref}.items())
    np.testing.assert_allclose(jax.nn.softmax(teacher)[0, 0, 0], [0.786986, 0.106507, 0.106507], rtol=1e-5)

    def distilled(student):
        p, q = jax.nn.log_softmax(student), jax.nn.log_softmax(teacher)
        return second * jnp.sum(divergence.exact(one.divergence, p, q))

    def objective(student):
        probs, ratio = jax.nn.softmax(student), jax.nn.log_softmax(DPO) - jax.nn.log_softmax(ref)
        return jnp.sum(probs * first * ratio) - second * kl(student, ref)

    mixed = weights["dpo"] * jax.nn.log_softmax(DPO) + weights["ref"] * jax.nn.log_softmax(ref)
    log_z = jax.nn.logsumexp(mixed)
    np.testing.assert_allclose(distilled(STUDENT), 0.015518, rtol=1e-4)
    np.testing.assert_allclose(distilled(STUDENT), second * log_z - objective(STUDENT), rtol=1e-4)
    np.testing.assert_allclose(jax.grad(distilled)(STUDENT), -jax.grad(objective)(STUDENT), atol=1e-6)


def test_on_own_completions_it_is_the_same():
    models, inner = {"dpo": DPO, "reverse_dpo": NEGATIVE}, AlignDistil(extrapolation=15.0)
    recipe = OnPolicy(inner)
    batch, _ = recipe.credit(rollout(MASK), jnp.zeros((1, 1)), {}, looked_up(models), recipe.init_memory())
    given, _ = inner.credit(groups(MASK), {}, looked_up(models), ())
    jax.tree.map(np.testing.assert_array_equal, batch, given)
    np.testing.assert_array_equal(recipe.loss(stats(recipe, batch, STUDENT, models), batch)[0], step(inner)[0])


def test_a_missing_model_is_named():
    with pytest.raises(ValueError, match="AlignDistil asks the model 'reverse_dpo'"):
        AlignDistil().credit(groups(MASK), {}, looked_up({"dpo": DPO}), ())
