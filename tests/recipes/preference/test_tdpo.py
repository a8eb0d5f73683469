"""TDPO1 and TDPO2; the divergences are given, as the loops give them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, MASK, POLICY, REF, stats, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.tdpo1 import TDPO1
from posttrain_jax.recipes.preference.tdpo2 import TDPO2


def with_kl(chosen, rejected, policy=POLICY):
    """Divergences of these sums, every token alike."""
    kl = jnp.where(MASK, jnp.array([[[chosen / 5], [rejected / 7]]]), 0)
    return dataclasses.replace(policy, divergences={"kl": kl})


def differentiate(recipe, policy):
    """Loss, its gradient by the log-probabilities and by the divergences."""
    batch = recipe.credit(GROUPS, REF)
    loss, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return loss, gradient.logps, gradient.divergences["kl"]


@pytest.mark.parametrize(("recipe", "expected"), [(TDPO1(), 0.607192), (TDPO2(kl_coef=0.5), 0.602653)])
def test_canonical_pair(recipe, expected):
    np.testing.assert_allclose(differentiate(recipe, with_kl(0.3, 0.5))[0], expected, rtol=2e-6)


def test_at_the_reference_it_is_ln_2():
    for recipe in (TDPO1(), TDPO2()):
        np.testing.assert_allclose(differentiate(recipe, with_kl(0.0, 0.0, stats(REF)))[0], np.log(2), rtol=1e-6)


def test_without_weight_it_is_dpo_in_value_and_gradient():
    loss, by_logps, by_kl = differentiate(TDPO2(kl_coef=0.0), with_kl(0.3, 0.5))
    expected = step(DPO())
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    np.testing.assert_allclose(by_logps, expected[1], rtol=1e-6)
    assert not by_kl.any()


def test_the_second_form_stops_the_pull_on_the_chosen_completion():
    first, second = (differentiate(recipe, with_kl(0.3, 0.5)) for recipe in (TDPO1(), TDPO2(kl_coef=1.0)))
    np.testing.assert_allclose(first[0], second[0], rtol=1e-6)
    slope = 0.1 / (1 + np.exp(0.18))
    np.testing.assert_allclose(first[2][0, :, 0], [-slope, slope], rtol=1e-5)
    np.testing.assert_allclose(second[2][0, :, 0], [0, slope], rtol=1e-5)


def test_rewards_hold_the_divergence():
    _, metrics = TDPO1().loss(with_kl(0.3, 0.5), TDPO1().credit(GROUPS, REF))
    np.testing.assert_allclose(metrics["chosen_reward"], [0.13], rtol=1e-5)
    np.testing.assert_allclose(metrics["rejected_reward"], [-0.05], rtol=1e-5)


def test_missing_divergences_are_refused_in_words():
    with pytest.raises(ValueError, match="TDPO1 reads KL"):
        TDPO1().loss(POLICY, TDPO1().credit(GROUPS, REF))


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"kl_coef": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TDPO2(**wrong)
