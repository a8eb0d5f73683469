import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, MASK, POLICY, REF, groups, stats
from canonical_pair import step as plain_step
from lookups import credit, step

from posttrain_jax.recipes.preference import column, t_reg
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.t_reg import TREG

COLUMNS = {"better_prompt": jnp.array([[[1.0], [3.0]]]), "worse_prompt": jnp.array([[[2.0], [3.0]]])}
CONTRAST = {1: REF.at[0, :, 0].add(0.5), 2: REF.at[0, :, 1].add(0.1)}
REWARDS = jnp.zeros((1, 2, 7)).at[0, :, :2].set(jnp.array([0.122459, -0.024979]))


def test_worked_tokens():
    rewards = t_reg.token_rewards(jnp.array([[[-1, -0.5]]]), jnp.array([[[-1.5, -0.4]]]))
    np.testing.assert_allclose(rewards, [[[0.122459, -0.024979]]], atol=1e-6)


def test_canonical_pair():
    """Weight sigmoid(-0.2) = 0.450166; tokens of -2 in both completions."""
    value, gradient = step(TREG(regularization=0.5), COLUMNS, by_prompt=CONTRAST)
    pushed = 0.1 * 2 * (0.122459 - 0.024979) * -2
    np.testing.assert_allclose(value, 0.598139 - 0.5 * 0.450166 * pushed, rtol=1e-5)
    _, without = plain_step(DPO())
    np.testing.assert_allclose(gradient - without, -0.5 * 0.450166 * 0.1 * REWARDS, atol=1e-6)


def test_one_completion_by_hand():
    mask = jnp.array([[[True, True], [True, False]]])
    prompts = {1: jnp.array([[[-1, -0.5], [0, 0]]]), 2: jnp.array([[[-1.5, -0.4], [0, 0]]])}
    ref = jnp.array([[[-0.7, -0.9], [-3.0, 0]]])
    value, _ = step(TREG(), COLUMNS, groups(mask), policy=stats(ref), ref=ref, by_prompt=prompts)
    np.testing.assert_allclose(value, np.log(2) + 0.25 * 0.5 * 0.006324, atol=1e-6)


@pytest.mark.parametrize(("recipe", "contrast"), [(TREG(regularization=0.0), CONTRAST), (TREG(), {})])
def test_without_regularization_or_with_equal_prompts_it_is_dpo(recipe, contrast):
    value, gradient = step(recipe, COLUMNS, by_prompt=contrast)
    expected, expected_gradient = plain_step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_the_push_fades_with_the_margin_and_the_fading_is_not_differentiated():
    def push(policy):
        _, with_it = step(TREG(), COLUMNS, policy=policy, by_prompt=CONTRAST)
        return (with_it - plain_step(DPO(), policy=policy)[1])[0, 0, :2]

    far = stats(jnp.where(MASK, POLICY.logps * jnp.array([[[0.1], [2.0]]]), 0))
    np.testing.assert_allclose(push(far) / push(POLICY), (1 / (1 + np.exp(2.5))) / 0.450166, rtol=1e-3)


def test_token_rewards_have_no_gradient():
    batch = credit(TREG(), COLUMNS, by_prompt=CONTRAST)

    def loss(rewards):
        return TREG().loss(POLICY, type(batch)(batch.completion_mask, batch.pair_weights, REF, extra=rewards))[0]

    np.testing.assert_array_equal(jax.grad(loss)(dict(batch.extra))["token_rewards"], 0)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'worse_prompt'"):
        step(TREG(), {"better_prompt": COLUMNS["better_prompt"]})
    with pytest.raises(ValueError, match="every completion"):
        step(TREG(), {"better_prompt": jnp.zeros((1, 1)), "worse_prompt": jnp.zeros((1, 1))})
    for wrong in ({"beta": 0.0}, {"regularization": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TREG(**wrong)


def test_each_completion_stands_after_a_prompt_of_its_own():
    columns = {"prompts": jnp.array([[[5.0, 6.0, -1.0], [7.0, -1.0, -1.0]]])}
    got = column.apart(TREG(), columns, "prompts", GROUPS)
    np.testing.assert_array_equal(got.prompts, [[5, 6, 0], [7, 0, 0]])
    np.testing.assert_array_equal(got.prompt_lengths, [2, 1])
    np.testing.assert_array_equal(got.completion_mask, MASK.reshape(2, 1, 7))
    np.testing.assert_array_equal(got.completion_lengths, [[5], [7]])
