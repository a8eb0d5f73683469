"""Both forms of alignment by optimal transport."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, RANDOM_LOGPS, RANDOM_MASK, RANDOM_REF, REF, credit, groups, stats, step

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference.aot_paired import AOTPaired
from posttrain_jax.recipes.preference.aot_unpaired import AOTUnpaired
from posttrain_jax.recipes.preference.dpo import DPO

EACH = pytest.mark.parametrize("form", [AOTPaired, AOTUnpaired])


def loss(recipe, logps, ref, mask, before=None):
    """Loss of the policy, credited under the policy `before` (by default itself)."""
    batch = credit(recipe, groups(mask), jax.lax.stop_gradient(logps if before is None else before), ref)
    return recipe.loss(stats(logps), batch)[0]


def one_token(pairs):
    return jnp.array(pairs)[:, :, None]


def test_two_pairs_by_hand():
    mask = jnp.ones((2, 2, 1), bool)
    # policy margins 4 and -1, reference margins 2 and 3
    paired = loss(
        AOTPaired(beta=1.0), one_token([[0.0, -4.0], [-1.0, 0.0]]), one_token([[0.0, -2.0], [0.0, -3.0]]), mask
    )
    np.testing.assert_allclose(2 * paired, sum(np.log1p(np.exp(-d)) for d in (-3, 1)), rtol=1e-6)
    paired = loss(
        AOTPaired(beta=0.1), one_token([[0.0, -4.0], [-1.0, 0.0]]), one_token([[0.0, -2.0], [0.0, -3.0]]), mask
    )
    np.testing.assert_allclose(paired, 0.749376, rtol=2e-6)
    log_ratios = one_token([[1.0, -1.0], [-0.5, 2.0]])
    unpaired = loss(AOTUnpaired(beta=0.1), log_ratios, jnp.zeros_like(log_ratios), mask)
    np.testing.assert_allclose(unpaired, 0.706428, rtol=2e-6)


def paired_by_sorting(logps, ref, beta):
    m, r = logps.sum(-1), ref.sum(-1)
    return link.logistic(beta * (jnp.sort(m[:, 0] - m[:, 1]) - jnp.sort(r[:, 0] - r[:, 1]))).mean()


def unpaired_by_sorting(logps, ref, beta):
    a = (logps - ref).sum(-1)
    return link.logistic(beta * (jnp.sort(a[:, 0]) - jnp.sort(a[:, 1]))).mean()


@pytest.mark.parametrize(("form", "by_sorting"), [(AOTPaired, paired_by_sorting), (AOTUnpaired, unpaired_by_sorting)])
def test_value_and_gradient_are_those_of_the_sorted_loss(form, by_sorting):
    recipe = form(beta=0.5)
    got = jax.value_and_grad(lambda x: loss(recipe, x, RANDOM_REF, RANDOM_MASK))(RANDOM_LOGPS)
    expected = jax.value_and_grad(lambda x: by_sorting(jnp.where(RANDOM_MASK, x, 0), RANDOM_REF, 0.5))(RANDOM_LOGPS)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@EACH
def test_one_pair_alone_is_dpo(form):
    got = jax.value_and_grad(lambda x: loss(form(beta=0.1), x, REF, GROUPS.completion_mask))(POLICY.logps)
    for a, b in zip(got, step(DPO(beta=0.1)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@EACH
def test_pairs_that_do_not_count_are_in_no_order(form):
    mask = RANDOM_MASK.at[0, 1].set(False)
    part = loss(form(beta=0.5), jnp.where(mask, RANDOM_LOGPS, 0), jnp.where(mask, RANDOM_REF, 0), mask)
    whole = loss(form(beta=0.5), RANDOM_LOGPS[1:], RANDOM_REF[1:], RANDOM_MASK[1:])
    np.testing.assert_allclose(part, whole, rtol=1e-6)


@EACH
def test_what_is_missing_is_named(form):
    with pytest.raises(ValueError, match=f"{form.__name__} reads"):
        form().loss(POLICY, types.PreferenceBatch(GROUPS.completion_mask, jnp.ones(1), REF))


@EACH
@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"label_noise": 0.5}])
def test_meaningless_numbers_are_refused(form, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        form(**wrong)
