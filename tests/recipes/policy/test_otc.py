import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.otc import OTC
from posttrain_jax.recipes.policy.reinforce import REINFORCE

RAW = OTC(prompts=8, limit=4.0, recipe=REINFORCE())
CALLS = jnp.asarray([[3.0, 0.0, 2.0, 2.0]])


def earned(batch):
    return np.asarray(batch.advantages)[0, :, 0]


def test_right_answers_earn_most_with_the_fewest_calls():
    """The right ones call 3 and 2 times: sin(3 pi / 5) and 1. What is wrong earns nothing, whatever it calls."""
    batch, memory = fx.informed(RAW, columns={"calls": CALLS})
    np.testing.assert_allclose(earned(batch), [0.951057, 0, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(memory, [np.inf] * 7 + [2])


def test_the_fewest_calls_of_earlier_visits_count():
    memory = jnp.full(8, jnp.inf).at[7].set(1.0)
    batch, after = fx.informed(RAW, columns={"calls": CALLS}, memory=memory)
    np.testing.assert_allclose(earned(batch), [0.707107, 0, 0, 0.866025], atol=1e-6)
    assert float(after[7]) == 1


def test_prompts_that_were_never_answered_rightly_keep_their_rewards():
    rewards = jnp.asarray([[-1.0, 0.0, -2.0, -1.0]])
    batch, memory = fx.informed(RAW, rewards, columns={"calls": CALLS})
    np.testing.assert_array_equal(earned(batch), rewards[0])
    assert np.isinf(memory).all()


def test_equal_calls_leave_grpo_as_it_is():
    recipe = OTC(prompts=8, limit=4.0, recipe=GRPO(kl_coef=0.0))
    batch, _ = fx.informed(recipe, columns={"calls": jnp.full((1, 4), 2.0)})
    np.testing.assert_array_equal(batch.advantages, GRPO(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS).advantages)


def test_calls_that_could_not_be_counted_leave_the_completion_out():
    batch, _ = fx.informed(RAW, columns={"calls": jnp.asarray([[jnp.nan, 0.0, 2.0, 2.0]])})
    np.testing.assert_array_equal(batch.token_weights[0, 0], 0)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="OTC reads the calls from 'calls'; the rewards are tools"):
        fx.informed(RAW, columns={"tools": CALLS})
    with pytest.raises(ValueError, match="prompts=0"):
        OTC(prompts=0, limit=4.0)
