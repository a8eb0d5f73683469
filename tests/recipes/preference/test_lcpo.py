import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, REF, groups, stats
from canonical_pair import step as plain_step
from lookups import lookup, step

from posttrain_jax.recipes.preference.cpo import CPO
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.ipo import IPO
from posttrain_jax.recipes.preference.lcpo import LCPO
from posttrain_jax.recipes.preference.simpo import SimPO


def one_token(gap):
    """A pair of one token each whose log-ratios differ by `gap`."""
    return stats(jnp.array([[[gap - 1.0], [-1.0]]])), jnp.full((1, 2, 1), -1.0)


def run(recipe, gap):
    policy, ref = one_token(gap)
    return step(recipe, {}, groups(jnp.ones((1, 2, 1), bool)), policy=policy, ref=ref)


@pytest.mark.parametrize(
    ("recipe", "gap", "expected"),
    [
        (LCPO(DPO(beta=0.1)), 2.0, 0.614816),
        (LCPO(DPO(beta=0.1)), -20.0, 1.225222),
        (LCPO(DPO(beta=0.1), prior=0.6), 30.0, 0.144963),
        (LCPO(IPO(beta=0.1)), 0.02, 0.540742),
        (LCPO(SimPO(beta=2.0, target_margin=1.0)), 0.5, 0.250825),
    ],
)
def test_worked_pairs(recipe, gap, expected):
    np.testing.assert_allclose(run(recipe, gap)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "gap", "expected"),
    [
        (DPO(beta=0.1), 2.0, 0.2),
        (IPO(beta=0.1), 0.02, 0.4),
        (SimPO(beta=2.0, target_margin=1.0), 0.5, 1.433781),
        (CPO(beta=0.1), 2.0, 0.2),
    ],
)
def test_gaps(recipe, gap, expected):
    policy, ref = one_token(gap)
    batch = recipe.credit(groups(jnp.ones((1, 2, 1), bool)), ref if recipe.needs_ref else None)
    np.testing.assert_allclose(LCPO(recipe).gaps(policy, batch), [expected], rtol=1e-5)


def test_with_dpo_it_is_dpo_with_a_noise_for_each_pair():
    value, gradient = step(LCPO(), {})
    expected, expected_gradient = plain_step(DPO(label_noise=1 - 0.916615))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4)


def test_the_posterior_is_not_differentiated():
    _, gradient = run(LCPO(), 2.0)
    np.testing.assert_allclose(gradient[0, 0, 0], 0.1 * (1 / (1 + np.exp(-0.2)) - 0.916615), rtol=1e-4)


def test_reliable_labels_give_dpo_and_a_logistic_surrogate_of_ipo():
    policy, ref = one_token(2.0)
    for recipe, gap in [(DPO(beta=0.1), 0.2), (IPO(beta=0.1), 40.0)]:
        outer = LCPO(recipe)
        batch = outer.credit(groups(jnp.ones((1, 2, 1), bool)), {}, lookup(ref, policy), outer.init_memory())[0]
        batch = dataclasses.replace(batch, extra={"posteriors": jnp.ones(1)})
        np.testing.assert_allclose(outer.loss(policy, batch)[0], np.log1p(np.exp(-gap)), rtol=1e-5)


def test_a_likelihood_term_stays_beside_the_preference():
    both, gradient = step(LCPO(CPO()), {})
    without, without_gradient = step(LCPO(CPO(nll_coef=0.0)), {})
    np.testing.assert_allclose(both - without, 2.0, rtol=1e-5)
    np.testing.assert_allclose((gradient - without_gradient)[0, 0, :5], -1 / 5, rtol=1e-4)


def test_reliabilities_are_remembered_by_annotator():
    three = jax.tree.map(lambda x: jnp.concatenate([x, x, x]), GROUPS)
    policy = stats(jnp.concatenate([POLICY.logps] * 3))
    recipe = LCPO(annotators=3)
    columns = {"annotator": jnp.array([2.0, 2.0, 0.0])}
    memory = jnp.array([0.9, 0.8, 0.7])
    batch, memory = recipe.credit(three, columns, lookup(jnp.concatenate([REF] * 3), policy), memory)
    seventh = 1 / (1 + np.exp(-0.2) * 3 / 7)
    np.testing.assert_allclose(batch.extra["posteriors"], [seventh, seventh, 0.916615], rtol=1e-5)
    np.testing.assert_allclose(memory, [0.9 + 0.1 * 0.016615, 0.8, 0.63 + 0.1 * seventh], rtol=1e-5)


def test_an_annotator_of_no_memory_has_the_first_reliability():
    recipe = LCPO(annotators=2, prior=0.8)
    memory = jnp.array([0.9, 0.55])
    for stranger in (7.0, -1.0):
        batch, after = recipe.credit(GROUPS, {"annotator": jnp.array([stranger])}, lookup(REF, POLICY), memory)
        np.testing.assert_allclose(batch.extra["posteriors"], 1 / (1 + np.exp(-0.2) / 4), rtol=1e-5)
        np.testing.assert_array_equal(after, memory)


def test_rows_that_fill_up_the_batch_change_no_reliability():
    empty = jax.tree.map(jnp.zeros_like, GROUPS)
    recipe = LCPO()
    _, memory = recipe.credit(empty, {}, lookup(), recipe.init_memory())
    np.testing.assert_array_equal(memory, recipe.init_memory())


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'annotator'"):
        step(LCPO(annotators=2), {})
    for wrong in ({"prior": 0.5}, {"prior": 1.0}, {"rate": 2.0}, {"annotators": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LCPO(**wrong)
