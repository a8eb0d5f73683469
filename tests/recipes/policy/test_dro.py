import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.recipes.policy.dro import DRO
from posttrain_jax.recipes.policy.reinforce import REINFORCE

WORDS = jnp.asarray([[[1, 9, 4], [2, 9, 0], [3, 3, 3], [1, 0, 0]]])
ROLLOUT = dataclasses.replace(fx.ROLLOUT, groups=dataclasses.replace(fx.ROLLOUT.groups, completions=WORDS))
ANSWER = {"answer": jnp.asarray([[5.0, 6.0, -1.0]])}
RAW = DRO((9,), recipe=REINFORCE())
NOTHING = jnp.zeros((1, 4))


def says(groups, *_):
    """The first answer token is as likely as the thought's first word says, the second always the same."""
    first = groups.completions[:, :, :1].astype(jnp.float32)
    value = jnp.where(groups.completions == 5, -first, -1.0)
    return types.TokenStats(jnp.where(groups.completion_mask, value, 0), jnp.zeros_like(value))


def earned(recipe, rewards=NOTHING, role="policy"):
    batch, memory = fx.informed(recipe, rewards, rollout=ROLLOUT, columns=ANSWER, fixed={role: says})
    assert memory == ()
    return np.asarray(batch.advantages)[0, :, 0]


def test_thoughts_are_paid_by_the_tokens_that_they_make_a_difference_to():
    """Only the first token of the answer differs from thought to thought: its weight is 1."""
    np.testing.assert_allclose(earned(RAW), [-1, -2, -3, -1], rtol=1e-6)


def test_other_rewards_and_the_answers_length_are_added():
    """Behind the end of their thoughts the four have 1, 0, 0 and 0 tokens of 2."""
    recipe = dataclasses.replace(RAW, length_coef=2.0)
    np.testing.assert_allclose(earned(recipe, jnp.ones((1, 4))), [1.5, 0, -1, 1], rtol=1e-6)


def test_any_model_of_the_loop_may_say_how_likely_the_answer_is():
    np.testing.assert_allclose(earned(dataclasses.replace(RAW, role="teacher"), role="teacher"), [-1, -2, -3, -1])
    with pytest.raises(ValueError, match="asks the model 'teacher'"):
        earned(dataclasses.replace(RAW, role="teacher"))


def test_failed_completions_are_left_out_of_the_spread():
    got = earned(RAW, jnp.asarray([[0.0, jnp.nan, jnp.nan, 0.0]]))
    np.testing.assert_array_equal(got, [0, 0, 0, 0])


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="DRO reads the column 'answer'"):
        fx.informed(RAW)
