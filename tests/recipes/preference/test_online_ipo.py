"""Regressions on games: the papers' identities, by enumeration of three responses."""

import jax
import jax.numpy as jnp
import numpy as np
from canonical_pair import groups, stats

from posttrain_jax import types
from posttrain_jax.losses import game, pairing
from posttrain_jax.recipes.preference import dno, dpo, gpo, online_ipo1, online_ipo2, sppo

P = jnp.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
REF = jax.nn.log_softmax(jnp.array([0.5, 0.0, -0.5]))
ALL = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)
BETA = 0.1


def total(recipe, logits, words, weights, opponent=None):
    """Sum of the rows' losses, each times its weight; a batch gives every row the same."""
    rows, size = words.shape
    log_probs, mask = jax.nn.log_softmax(logits), jnp.ones((rows, size, 1), bool)
    rollout = types.Rollout(groups(mask), stats(jnp.zeros((rows, size, 1))), jnp.zeros((rows, size), bool))
    columns = {"wins": P[words[:, :, None], words[:, None]]}
    columns |= {} if opponent is None else {"opponent": jnp.tile(jnp.array(opponent)[None], (rows, 1))}
    lookup = types.Lookup(lambda *_: stats(log_probs), lambda *_: stats(REF[words][..., None]), jax.random.key(0))
    batch, _ = recipe.credit(rollout, jnp.ones((rows, size)), columns, lookup, ())
    scaled = {**batch.extra, "weights": batch.extra["weights"] * weights[:, None] * rows}
    batch = types.PreferenceBatch(batch.completion_mask, batch.pair_weights, batch.ref_logps, extra=scaled)
    return recipe.loss(stats(log_probs[words][..., None]), batch)[0]


def test_evenly_drawn_pairs_against_an_opponent_make_the_step_of_the_game():
    """SGD at rate lr is `game.step` at 4 lr / (beta N), with whatever opponent."""
    opponent, rate = jax.nn.log_softmax(jnp.array([-0.3, 0.2, 0.4])), 0.0375
    logits = jax.nn.log_softmax(jnp.array([0.1, -0.4, 0.3]))
    weights = jnp.exp(opponent)[ALL[:, 2]] / 9
    recipe = online_ipo1.OnlineIPO1(BETA)
    gradient = jax.jit(jax.grad(lambda x: total(recipe, x, ALL, weights, (0.0, 0.0, 1.0))))(logits)
    expected = game.step(P, logits, opponent, REF, beta=BETA, rate=4 * rate / (BETA * 3))
    np.testing.assert_allclose(jax.nn.log_softmax(logits - rate * gradient), expected, atol=1e-5)


def test_online_ipo_2_is_self_play_by_policy_gradient():
    logits = jax.nn.log_softmax(jnp.array([0.1, -0.4, 0.3]))
    pairs = ALL[::3, :2]
    weights = jnp.exp(logits[pairs].sum(-1))
    gradient = jax.jit(jax.grad(lambda x: total(online_ipo2.OnlineIPO2(BETA), x, pairs, weights)))(logits)

    def objective(x):
        return game.value(P, jax.nn.log_softmax(x), logits, REF, beta=BETA)

    np.testing.assert_allclose(gradient, -4 / BETA * jax.grad(objective)(logits), atol=1e-4)


def test_the_equilibrium_is_where_the_expected_gradient_vanishes():
    nash = game.equilibrium(P, REF, beta=BETA)
    weights = jnp.exp(nash)[ALL[:, 2]] / 9
    recipe = online_ipo1.OnlineIPO1(BETA)
    gradient = jax.jit(jax.grad(lambda x: total(recipe, x, ALL, weights, (0.0, 0.0, 1.0))))(nash)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
    assert total(recipe, nash, ALL, weights, (0.0, 0.0, 1.0)) > 0.1


def offline(recipe, ratios, **columns):
    """The loss of completions of one token with the given log-ratios."""
    logps = jnp.asarray(ratios)[None, :, None]
    lookup = types.Lookup(lambda *_: stats(logps), lambda *_: stats(0 * logps), jax.random.key(0))
    given = {name: jnp.asarray(x)[None] for name, x in columns.items()}
    batch, _ = recipe.credit(groups(jnp.ones(logps.shape, bool)), given, lookup, ())
    return recipe.loss(stats(logps), batch)[0]


def test_dno():
    """The target is sigmoid(.8 - .3) = .622459."""
    by_hand = -0.622459 * np.log(1 / (1 + np.exp(-0.3))) - (1 - 0.622459) * np.log(1 / (1 + np.exp(0.3)))
    np.testing.assert_allclose(by_hand, 0.667617, atol=1e-6)
    np.testing.assert_allclose(offline(dno.DNO(0.1), [3.0, 0.0], win_rates=[0.8, 0.3]), 0.667617, atol=1e-6)
    best = offline(dno.DNO(0.1), [5.0, 0.0], win_rates=[0.8, 0.3])
    np.testing.assert_allclose(best, 0.662848, atol=1e-6)
    # a certain target is DPO, whose practical form is on the same pair
    certain = offline(dno.DNO(0.1), [3.0, 0.0], win_rates=[100.0, 0.0])
    np.testing.assert_allclose(certain, 0.554355, atol=1e-6)
    batch = dpo.DPO(0.1).credit(groups(jnp.ones((1, 2, 1), bool)), jnp.zeros((1, 2, 1)))
    np.testing.assert_allclose(dpo.DPO(0.1).loss(stats(jnp.array([[[3.0], [0.0]]])), batch)[0], certain, atol=1e-6)


def test_dno_prct_keeps_clear_pairs():
    given = jnp.array([[True, False, False, False, False, False]])
    members, counted = pairing.GradeGap()(jnp.array([[6.0, 5, 3, 4, 2, 5]]), given=given)
    assert counted.sum() == 9
    for first, second in members[0][counted[0]]:
        assert int(first) in (0, 1, 5)
        assert int(second) in (2, 3, 4)


def test_gpo():
    loss = offline(gpo.GPO(beta=0.5, tau=1.0), [0.3, 0.0, -0.4], log_odds=[0.5, -0.1, -0.4])
    np.testing.assert_allclose(loss, 0.23, atol=1e-6)
    np.testing.assert_allclose(offline(gpo.GPO(beta=0.5, tau=0.1), [0.1, 0.02], log_odds=[0.5, 0.1]), 0, atol=1e-7)


def test_sppo_is_gpo_of_win_rates():
    """P - 1/2 in the place of the score, and a sum over the pair in the place of the mean."""
    rates, ratios = np.array([0.9, 0.2]), [0.4, -0.3]
    scored = offline(gpo.GPO(beta=0.5, tau=1.0), ratios, log_odds=rates - 0.5)
    np.testing.assert_allclose(offline(sppo.SPPO(0.5), ratios, win_rates=rates), 2 * scored, rtol=1e-6)


def test_dno_has_its_least_loss_at_the_difference_of_win_rates():
    slope = jax.grad(lambda x: offline(dno.DNO(0.1), [x, 0.0], win_rates=[0.8, 0.3]))
    np.testing.assert_allclose(slope(jnp.float32(5.0)), 0, atol=1e-7)
    assert slope(jnp.float32(4.0)) < 0 < slope(jnp.float32(6.0))
