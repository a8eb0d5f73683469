"""MiniLLM by hand, and its two terms against the gradient of the divergence of whole completions."""

import enumeration
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import rollout

from posttrain_jax import types
from posttrain_jax.losses import advantage, returns, surrogate
from posttrain_jax.recipes.distillation.minillm import MiniLLM

MASK = jnp.ones((1, 1, 3), bool)
STUDENT = jnp.full(MASK.shape, -1.0)
TEACHER = STUDENT + jnp.array([[[0.2, -0.1, 0.4]]])


def credit(recipe, *, rewards=0.0):
    def teacher(*_):
        return types.TokenStats(TEACHER, jnp.zeros(MASK.shape))

    def student(*_):
        return types.TokenStats(STUDENT, jnp.zeros(MASK.shape))

    lookup = types.Lookup(student, student, jax.random.key(0), fixed={"teacher": teacher})
    drawn = jnp.logaddexp(STUDENT, TEACHER) if recipe.teacher_share else STUDENT  # not what the ratios are of
    return recipe.credit(rollout(MASK, drawn), jnp.full((1, 1), rewards), {}, lookup, ())[0]


def policy(logps, divergences):
    return types.TokenStats(logps, jnp.zeros(MASK.shape), divergences={"teacher": jnp.full(MASK.shape, divergences)})


def test_what_follows_a_token_is_its_reward():
    expected = advantage.whitened(2 * jnp.array([[[0.15, 0.4, 0.0]]]), MASK)
    np.testing.assert_allclose(credit(MiniLLM()).advantages, expected, atol=1e-5)
    held = credit(MiniLLM(limit=0.1)).advantages  # rewards .1, -.1, .1
    np.testing.assert_allclose(held, advantage.whitened(jnp.array([[[0.0, 0.1, 0.0]]]), MASK), atol=1e-5)
    assert not credit(MiniLLM(), rewards=jnp.nan).token_weights.any()


def test_the_codes_advantages_hold_the_tokens_own_reward():
    """Rewards .2, -.1, .4: (.166667, .15, .4), of which the paper's form has (.15, .4, 0)."""
    plain = returns.remaining_mean(jnp.array([[[0.2, -0.1, 0.4]]]), MASK)
    np.testing.assert_allclose(plain[0, 0], [0.166667, 0.15, 0.4], atol=1e-6)
    got = credit(MiniLLM(following=returns.remaining_mean)).advantages
    np.testing.assert_allclose(got, advantage.whitened(2 * plain, MASK), atol=1e-5)
    short = returns.remaining_mean(jnp.array([[[0.2, -0.1, 0.4]]]), MASK.at[0, 0, 2].set(False))
    np.testing.assert_allclose(short[0, 0], [0.05, -0.1, 0.0], atol=1e-6)


def test_a_missing_teacher_is_refused():
    nothing = types.TokenStats(STUDENT, STUDENT)
    lookup = types.Lookup(lambda *_: nothing, lambda *_: nothing, jax.random.key(0))
    with pytest.raises(ValueError, match="MiniLLM asks the model 'teacher'"):
        MiniLLM().credit(rollout(MASK, STUDENT), jnp.zeros((1, 1)), {}, lookup, ())


def test_completions_of_the_mixture_are_weighted_by_the_student_in_it():
    np.testing.assert_allclose(credit(MiniLLM()).extra["log_weights"], 0, atol=1e-7)
    student, teacher = np.exp(STUDENT), np.exp(TEACHER)
    got = credit(MiniLLM(teacher_share=0.2)).extra["log_weights"]
    np.testing.assert_allclose(np.exp(got), student / (0.8 * student + 0.2 * teacher), rtol=1e-6)


def test_the_loss_is_the_exact_divergence_and_the_surrogate():
    recipe = MiniLLM(teacher_share=0.2)
    batch = credit(recipe)
    value, gradient = jax.value_and_grad(lambda x: recipe.loss(policy(x, 0.3), batch)[0])(STUDENT)
    weights = np.exp(batch.extra["log_weights"])
    np.testing.assert_allclose(value, 0.3 - np.mean(weights * batch.advantages), rtol=1e-5)
    np.testing.assert_allclose(gradient, -weights * batch.advantages / 3, rtol=1e-5)
    far = STUDENT + 1.0
    gradient = jax.grad(lambda x: recipe.loss(policy(x, 0.3), _with_old(batch))[0])(far)
    assert (np.asarray(gradient) == 0).tolist() == (np.asarray(batch.advantages) > 0).tolist()


def _with_old(batch):
    return types.PolicyBatch(
        batch.completion_mask, batch.advantages, batch.token_weights, old_logps=STUDENT, extra=batch.extra
    )


def test_unnormalised_both_terms_have_the_gradient_of_the_divergence_of_completions():
    language = enumeration.FIXED
    table, teacher_table, _ = enumeration.random(language, 11)
    everything = jnp.arange(9)[None]
    probs = jnp.exp(language.log_probs(table))
    gaps = language.stats(teacher_table, everything).logps - language.stats(table, everything).logps
    mask = language.groups(everything).completion_mask
    behind = returns.to_go(gaps, mask) - gaps
    visits = jnp.concatenate([jnp.ones(1), jax.nn.softmax(table[0])])

    def both(table):
        p, q = jax.nn.log_softmax(table), jax.nn.log_softmax(teacher_table)
        single = jnp.sum(visits * jnp.sum(jnp.exp(p) * (p - q), axis=-1))
        later = surrogate.reinforce(language.stats(table, everything).logps, behind)
        return single + jnp.sum(probs[None, :, None] * later)

    def whole(table):
        p, q = language.log_probs(table), language.log_probs(teacher_table)
        return jnp.sum(jnp.exp(p) * (p - q))

    np.testing.assert_allclose(jax.grad(both)(table), jax.grad(whole)(table), atol=2e-6)


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"limit": -1.0}, {"teacher_share": 1.0}])
def test_numbers_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match="above 0"):
        MiniLLM(**wrong)
