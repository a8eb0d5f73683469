import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import influence
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.nthr import NTHR
from posttrain_jax.recipes.policy.thr import THR

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)
INFLUENCES = jnp.array([[[0.4, -0.1, 0.3], [0.5, -0.5, 0], [0.1, 0.0, -0.3], [1.0, 0, 0]]])
"""The first and the last completion are right: their means are 0.2 and 1, so the threshold is 0.2."""


def shares(recipe, rewards=fx.REWARDS):
    """What each token's advantage is multiplied with."""
    batch, _ = fx.informed(recipe, rewards, influences=lambda groups, sources: INFLUENCES)
    plain = recipe.recipe.credit(fx.ROLLOUT, rewards)
    np.testing.assert_array_equal(batch.token_weights, plain.token_weights)
    return (batch.advantages / jnp.where(plain.advantages == 0, 1, plain.advantages))[0]


def test_worked_shares_of_thr():
    got = shares(THR(PLAIN, push=0.1))
    np.testing.assert_allclose(got, [[1.1, 0, 1.1], [0.9, 1.1, 0], [0, 0, 1.1], [1.1, 0, 0]], rtol=1e-6)
    got = shares(THR(PLAIN, push=-0.1))
    np.testing.assert_allclose(got, [[0.9, 0, 0.9], [1.1, 0.9, 0], [0, 0, 0.9], [0.9, 0, 0]], rtol=1e-6)


def test_without_push_and_threshold_only_idle_tokens_are_left_out():
    got = shares(THR(PLAIN, push=0.0, scale=0.0))
    np.testing.assert_array_equal(got, (INFLUENCES != 0)[0])


def test_worked_shares_of_nthr():
    """Half are right: eta is 0 on the one wrong token above the threshold 0.2; a quarter right makes it 1/2."""
    np.testing.assert_array_equal(shares(NTHR(PLAIN))[1:3], [[0, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(shares(NTHR(PLAIN))[::3], fx.MASK[0, ::3])
    got = shares(NTHR(PLAIN), jnp.array([[1.0, 0, 0, 0]]))
    np.testing.assert_allclose(got, [[1, 1, 1], [0.5, 1, 0], [1, 1, 1], [0.5, 0, 0]], rtol=1e-6)


def test_the_threshold_scales():
    got = shares(NTHR(PLAIN, scale=0.0))
    np.testing.assert_array_equal(got[1:3], [[0, 1, 0], [0, 1, 1]])


@pytest.mark.parametrize("recipe", [THR(PLAIN), NTHR(PLAIN)])
@pytest.mark.parametrize("rewards", [[0.6, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4]])
def test_groups_of_one_kind_stay_as_they_are(recipe, rewards):
    np.testing.assert_array_equal(shares(recipe, jnp.array([rewards])), fx.MASK[0])


def test_loss_and_reference_are_the_recipes():
    for recipe in (THR(), NTHR()):
        assert recipe.needs_ref
        assert not dataclasses.replace(recipe, recipe=PLAIN).needs_ref
        batch, _ = fx.informed(recipe, influences=lambda groups, sources: INFLUENCES)
        np.testing.assert_array_equal(recipe.loss(fx.POLICY, batch)[0], recipe.recipe.loss(fx.POLICY, batch)[0])


def hidden_layer(ids):
    """Influences worked out from two states [1, 0], [0, 1], ... and the probabilities of three ids."""
    hidden = jnp.array([[[[1.0, 0], [0, 1]], [[1, 1], [0, 1]], [[0, 1], [1, 0]]]])[:, : len(ids)]
    rows = [
        [(0.5, 0.25, 0.25), (0.2, 0.6, 0.2)],
        [(0.5, 0.25, 0.25), (0.1, 0.1, 0.8)],
        [(0.3, 0.3, 0.4), (0.6, 0.2, 0.2)],
    ]
    words = jnp.array([ids])
    errors = influence.prediction_errors(jnp.log(jnp.array([rows[: len(ids)]])), jnp.arange(3)[None], words)
    return lambda groups, sources: influence.of_tokens(hidden, errors, sources, groups.group_ids), words


def credited(recipe, ids, rewards):
    """Influences and advantages of completions of two tokens."""
    asked, told = [], hidden_layer(ids)
    pairs = jax.tree.map(
        lambda x: x[:, : len(ids), :2] if x.ndim == 3 else x[:, : len(ids)] if x.ndim == 2 else x, fx.ROLLOUT
    )
    mask = jnp.ones((1, len(ids), 2), bool)
    groups = dataclasses.replace(pairs.groups, completions=told[1], completion_mask=mask)

    def influences(groups, sources):
        asked.append(told[0](groups, sources))
        return asked[0]

    rollout = dataclasses.replace(pairs, groups=groups)
    batch, _ = fx.informed(recipe, jnp.array([rewards]), rollout=rollout, influences=influences)
    return asked[0][0], batch.advantages[0]


def test_worked_thr_from_hidden_states():
    """THR is [[.1875, .12], [-.0375, -.27]]: of the right one as asked, of the wrong one with its sign turned."""
    influences, advantages = credited(THR(PLAIN, push=0.1), [[0, 1], [1, 1]], [1.0, 0.0])
    np.testing.assert_allclose(influences, [[0.1875, 0.12], [0.0375, 0.27]], atol=1e-6)
    # tau is 0.15375: the first and the last token matter, one helps and one hinders
    np.testing.assert_allclose(advantages, [[1.1, 0], [0, -0.9]], atol=1e-6)


def test_worked_nthr_from_hidden_states():
    """s is [[.375, .24], [.075, .54]], tau .3075 and eta 0: the last token is spared altogether."""
    influences, advantages = credited(NTHR(PLAIN), [[0, 1], [1, 1]], [1.0, 0.0])
    np.testing.assert_allclose(influences, [[0.375, 0.24], [0.075, 0.54]], atol=1e-6)
    np.testing.assert_allclose(advantages, [[1, 1], [-1, 0]], atol=1e-6)


def test_worked_nthr_of_two_right_completions():
    """tau is .3675 and eta 1/3, and no token of the wrong one is above."""
    influences, advantages = credited(NTHR(PLAIN), [[0, 1], [1, 1], [2, 0]], [1.0, 0.0, 1.0])
    means = influences.mean(-1)
    np.testing.assert_allclose(min(means[0], means[2]), 0.3675, atol=1e-6)
    np.testing.assert_allclose(advantages[1], [-(2**0.5), -(2**0.5)], atol=1e-5)


def test_below_all_influences_and_without_push_it_is_grpo():
    got = shares(THR(PLAIN, push=0.0, scale=-1e9))
    np.testing.assert_array_equal(got, fx.MASK[0])


def test_a_scale_of_the_hidden_states_changes_no_choice():
    """Influences grow with its square, and so does the threshold."""
    for recipe in (THR(PLAIN), NTHR(PLAIN)):
        batches = [fx.informed(recipe, influences=lambda *_, c=c: c**2 * INFLUENCES)[0] for c in (1.0, 3.0)]
        np.testing.assert_array_equal(batches[0].advantages, batches[1].advantages)


def test_worked_threshold_of_the_others_alone():
    """Of two right completions the least mean influence on the other is .06; of a single one it is 0."""
    for ids, right, tau in (([[0, 1], [1, 1], [2, 0]], [1, 0, 1], 0.06), ([[0, 1], [1, 1]], [1, 0], 0.0)):
        ask, words = hidden_layer(ids)
        correct, ones = jnp.array([right], bool), jnp.ones(words.shape, bool)
        sources = jnp.where(correct[:, :, None], 1.0, jnp.zeros(words.shape))
        groups = types.SimpleNamespace(group_ids=fx.GROUP_IDS)
        alone = [ask(groups, jnp.zeros_like(sources).at[:, g].set(sources[:, g]))[:, g] for g in range(len(ids))]
        others = ask(groups, sources) - jnp.stack(alone, axis=1)
        np.testing.assert_allclose(influence.least_of_correct(others, correct, ones, fx.GROUP_IDS), [tau], atol=1e-6)


def test_what_is_asked_of():
    """NTHR asks about the sums of right completions, THR about their means; NaN is neither."""
    seen = []

    def influences(groups, sources):
        seen.append(sources)
        return INFLUENCES

    rewards = jnp.array([[1.0, 0.0, jnp.nan, 1.0]])
    for recipe in (NTHR(PLAIN), THR(PLAIN)):
        fx.informed(recipe, rewards, influences=influences)
    np.testing.assert_array_equal(seen[0][0], [[1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(seen[1][0], [[1 / 3] * 3, [0, 0, 0], [0, 0, 0], [1, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("recipe", [THR(PLAIN), NTHR(PLAIN)])
def test_what_cannot_be_told_is_refused(recipe):
    with pytest.raises(ValueError, match="the lookup gives none"):
        fx.informed(recipe)
    cut = dataclasses.replace(fx.ROLLOUT, kept_ids=jnp.zeros((1, 4, 3, 2), int))
    with pytest.raises(ValueError, match="leave out top_k"):
        fx.informed(recipe, rollout=cut, influences=lambda *_: INFLUENCES)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="push="):
        THR(push=1.1)
    with pytest.raises(ValueError, match="scale="):
        NTHR(scale=float("-inf"))
