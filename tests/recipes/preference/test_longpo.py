import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, MASK, POLICY, REF, groups, spread, stats
from canonical_pair import step as plain_step
from lookups import credit, lookup, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.longpo import LongPO

LONG = stats(spread(-20, -25))
SHORT = {7: spread(-18, -22)}
COLUMNS = {"short_prompt": jnp.array([[7.0, 3.0, -1.0]])}
ONLY_PREFERENCE = LongPO(preference_coef=1.0, nll_coef=0.0)


def test_worked_pair():
    value, gradient = step(ONLY_PREFERENCE, COLUMNS, policy=LONG, by_prompt=SHORT)
    np.testing.assert_allclose(value, 0.644397, rtol=1e-6)
    np.testing.assert_allclose(gradient[0, 0, 0], -0.1 / (1 + np.exp(0.1)), rtol=1e-5)


def test_the_likelihood_is_of_the_chosen_completion_per_token():
    value, gradient = step(LongPO(), COLUMNS, policy=LONG, by_prompt=SHORT)
    np.testing.assert_allclose(value, 0.01 * 0.644397 + 20 / 5, rtol=1e-6)
    _, without = step(LongPO(preference_coef=0.0), COLUMNS, policy=LONG, by_prompt=SHORT)
    np.testing.assert_allclose(without, jnp.where(MASK, jnp.array([[[-1 / 5], [0.0]]]), 0), rtol=1e-6)
    assert (gradient[0, 1, 0] > 0).all()


def test_turns_of_one_document_add_up():
    """Two turns in one completion, with the next instruction between them outside the mask."""
    mask = jnp.array([[[True, True, False, True, False], [True, False, False, True, True]]])
    policy = stats(jnp.array([[[-3.0, -2.0, 0, -7.0, 0], [-4.0, 0, 0, -5.0, -6.0]]]))
    ref = jnp.array([[[-2.5, -1.5, 0, -6.0, 0], [-3.0, 0, 0, -3.0, -5.0]]])
    value, gradient = step(ONLY_PREFERENCE, COLUMNS, groups(mask), policy=policy, ref=ref)
    first, second = (-5 + 4) - (-4 + 3), (-7 + 6) - (-11 + 8)
    np.testing.assert_allclose(value, np.log1p(np.exp(-0.1 * (first + second))), rtol=1e-6)
    push = 0.1 / (1 + np.exp(0.1 * (first + second)))
    np.testing.assert_allclose(gradient, jnp.where(mask, jnp.array([[[-push], [push]]]), 0), rtol=1e-5)


def test_after_the_same_prompt_it_is_dpo():
    value, gradient = step(ONLY_PREFERENCE, {"short_prompt": jnp.array([[0.0]])})
    expected, expected_gradient = plain_step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_the_reference_sees_the_short_prompt_and_the_same_completions():
    seen = []

    def answer(groups, kept_ids=None):
        seen.append(groups)
        return stats(REF)

    given = dataclasses.replace(lookup(), ref=answer)
    LongPO().credit(GROUPS, COLUMNS, given, ())
    np.testing.assert_array_equal(seen[0].prompts, [[7, 3, 0]])
    np.testing.assert_array_equal(seen[0].prompt_lengths, [2])
    np.testing.assert_array_equal(seen[0].completion_mask, MASK)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'short_prompt'"):
        credit(LongPO(), {}, policy=POLICY)
    for wrong in ({"beta": 0.0}, {"preference_coef": -1.0}, {"nll_coef": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LongPO(**wrong)
