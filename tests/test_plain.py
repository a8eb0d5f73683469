"""Recipes of given completions from plain arrays: the same batch as from a loop's rows and lookup."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import posttrain_jax as pt
from posttrain_jax import plain

MASK = jnp.arange(3)[None, None] < jnp.array([[[3], [1]], [[2], [2]], [[1], [3]]])
LOGPS, REF = (jnp.where(MASK, -jax.random.exponential(jax.random.key(k), MASK.shape), 0) for k in (0, 1))


def stats(logps, **more):
    return pt.TokenStats(logps, jnp.zeros_like(logps), **more)


def test_rows_of_a_mask():
    rows = plain.groups(MASK.at[0, 0, 1].set(False))
    np.testing.assert_array_equal(rows.completion_lengths, [[3, 1], [2, 2], [1, 3]])
    assert len(set(rows.group_ids.tolist())) == 3
    told = plain.groups(MASK, prompts=jnp.array([[4, 0], [5, 6], [7, 0]]), completions=jnp.ones(MASK.shape, int))
    np.testing.assert_array_equal(told.prompt_lengths, [1, 2, 1])
    assert told.completions.all()


def test_either_kind_of_recipe_is_credited():
    batch, memory = plain.credit(pt.DPO(), MASK, stats(LOGPS), stats(REF))
    assert memory == ()
    expected = pt.DPO().credit(plain.groups(MASK), REF)
    jax.tree.map(np.testing.assert_array_equal, batch, expected)
    assert plain.credit(pt.SimPO(), MASK, stats(LOGPS))[0].ref_logps is None
    sorted_batch, _ = plain.credit(pt.AOTPaired(), MASK, stats(LOGPS), stats(REF))
    margins = np.sum(np.asarray(REF), axis=-1) @ [1, -1]
    np.testing.assert_allclose(np.sort(sorted_batch.extra["ref_margins"]), np.sort(margins), rtol=1e-5)


def test_credit_within_a_loss_has_no_gradient():
    """The weights of WPO are the policy's own: where they moved with it, its gradient would be another."""
    recipe, told = pt.WPO(pt.DPO(beta=0.5)), {"collision": jnp.full(MASK.shape, 0.5)}

    def loss(logps, frozen=None):
        policy = stats(logps, divergences=told)
        batch, _ = plain.credit(recipe, MASK, policy if frozen is None else frozen, stats(REF))
        return recipe.loss(policy, batch)[0]

    apart = jax.grad(loss)(LOGPS, stats(LOGPS, divergences=told))
    np.testing.assert_array_equal(jax.grad(loss)(LOGPS), apart)
    assert apart.any()


def test_memory_goes_on():
    recipe = pt.LCPO()
    _, first = plain.credit(recipe, MASK, stats(LOGPS), stats(REF))
    _, second = plain.credit(recipe, MASK, stats(LOGPS), stats(REF), memory=first)
    assert float(second[0]) != float(first[0]) != 0.9


def test_other_models_and_columns_are_known_by_name():
    guided, _ = plain.credit(pt.TGDPO(), MASK, stats(LOGPS), stats(REF), fixed={"guide": stats(REF)})
    np.testing.assert_array_equal(guided.extra["weights"], 1)
    scores = jnp.array([[3.0, 1.0]] * 3)
    batch, _ = plain.credit(pt.OffsetDPO(), MASK, stats(LOGPS), stats(REF), columns={"scores": scores})
    np.testing.assert_allclose(batch.extra["offsets"], np.log(2), rtol=1e-6)


def test_what_is_missing_is_named():
    alone = MASK[:, :1]
    given = {"columns": {"desirable": jnp.ones(3)}}
    for recipe, mask, told, words in (
        (pt.KTO(), alone, (stats(LOGPS[:, :1]), stats(REF[:, :1])), "asks 'policy' about other rows"),
        (pt.WPO(), MASK, (stats(LOGPS), stats(REF)), r"asks 'policy' for \['collision'\]"),
        (pt.AOTPaired(), MASK, (stats(LOGPS),), "give ref"),
        (pt.DPO(), MASK, (stats(LOGPS),), "pass ref_logps"),
        (pt.TGDPO(), MASK, (stats(LOGPS), stats(REF)), "asks the model 'guide'"),
    ):
        with pytest.raises(ValueError, match=words):
            plain.credit(recipe, mask, *told, **given)


def test_functions_are_asked_about_any_rows():
    completions = jnp.arange(9).reshape(3, 1, 3)
    rows = plain.groups(MASK[:, :1], completions=completions)
    table = jnp.linspace(-2.0, -1.0, 9)
    policy = lambda asked: stats(jnp.where(asked.completion_mask, table[asked.completions], 0))  # noqa: E731
    ref = lambda asked: stats(jnp.where(asked.completion_mask, table[asked.completions] - 0.5, 0))  # noqa: E731
    batch, _ = plain.credit(pt.KTO(), rows, policy, ref, columns={"desirable": jnp.ones(3)})
    np.testing.assert_allclose(batch.baselines, 0.5 * 2, rtol=1e-6)  # half a nat a token, two tokens on average


REWARDS = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, jnp.nan]])


def test_own_completions_are_credited_by_their_rewards():
    drawn = plain.rollout(MASK, stats(LOGPS))
    batch, memory = plain.credit_rewards(pt.GRPO(), drawn, REWARDS, stats(REF))
    assert memory == ()
    jax.tree.map(np.testing.assert_array_equal, batch, pt.GRPO().credit(drawn, REWARDS, REF))
    np.testing.assert_array_equal(batch.advantages[2], 0)  # its group has one that was scored
    assert plain.credit_rewards(pt.RLOO(kl_coef=0.0), drawn, REWARDS)[0].ref_logps is None


def test_rewards_are_remembered_by_prompt_and_other_models_are_known():
    drawn = plain.rollout(MASK, stats(LOGPS, values=jnp.where(MASK, 0.5, 0.0)))
    recipe, calls = pt.OTC(prompts=3, limit=4.0, recipe=pt.REINFORCE()), jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0]])
    first, fewest = plain.credit_rewards(recipe, drawn, REWARDS, columns={"calls": calls})
    np.testing.assert_array_equal(fewest, [2, 3, 1])
    _, after = plain.credit_rewards(recipe, drawn, REWARDS, columns={"calls": calls - 1}, memory=fewest)
    np.testing.assert_array_equal(after, [1, 2, 0])
    np.testing.assert_allclose(first.advantages[0, 0, 0], 1, rtol=1e-6)  # no call fewer was right
    paid, _ = plain.credit_rewards(pt.RTO(), drawn, REWARDS, stats(REF), fixed={"dpo": stats(REF + 0.01)})
    np.testing.assert_allclose(
        paid.extra["token_reward"][0, 0, 0], 0.05 * 0.01 - 0.01 * (LOGPS - REF)[0, 0, 0], rtol=1e-3
    )
    np.testing.assert_array_equal(paid.extra["old_values"], drawn.sampler.values)


def test_what_rewards_lack_is_named():
    drawn = plain.rollout(MASK, stats(LOGPS))
    for recipe, words in (
        (pt.GRPOD(lambda step: 0.1), "give ref"),
        (pt.PPO(kl_coef=0.0), "a critic is needed"),
        (pt.GCPO("aux", "right"), "the rewards are none"),
        (pt.GiGPO(), "this rollout has none"),
        (pt.RTO(), "asks the model 'dpo'"),
    ):
        with pytest.raises(ValueError, match=words):
            plain.credit_rewards(recipe, drawn, REWARDS)
