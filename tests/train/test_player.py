"""The policy against an opponent in the online loop: who draws what, and every kind of opponent resumed bit for bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resuming
import sparing
from playing import ADAM, SAMPLING, WORDS, letters_a, parts

from posttrain_jax import arrangement
from posttrain_jax.losses import contest
from posttrain_jax.recipes.policy import grpo, nash_md, nash_mp
from posttrain_jax.recipes.preference import dno_prct, online_ipo1
from posttrain_jax.rollout import generate
from posttrain_jax.train import extragradient, metrics, online, player, reference, run


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def games(model):
    twice = extragradient.make_extragradient(ADAM)
    mixture = player.Players({"policy": 0.875, "ref": 0.125}, count=2)
    iterates = {"target": reference.Moving(1.0, every=2), "half": reference.Moving(1.0, every=1)}
    teacher = {"teacher": reference.Fixed(model, model.init(jax.random.key(5)), WORDS)}
    average = {"average": reference.Moving(0.3)}
    explored = player.Players({"ahead": 1.0}, count=2, own={"policy": 0.5})
    prox = {"versions": iterates, "players": player.Players({"half": 1.0})}
    taught = {"fixed": teacher, "players": player.Players({"teacher": 1.0}), "moving": reference.Moving(1.0, every=2)}
    grades = dno_prct.DNOPrct(keep=dno_prct.pairing.GradeGap(2.0, 1.0, 1.0))
    ipo = online_ipo1.OnlineIPO1()
    return {
        "mixture": parts(model, nash_md.NashMD(), players=mixture),
        "iterates": parts(model, nash_mp.NashMP(), **prox),
        "ahead": parts(model, ipo, optimizer=twice, players=explored),
        "teacher": parts(model, grades, {"a": (1.0, letters_a)}, **taught),
        "average": parts(model, ipo, versions=average, players=player.Players({"average": 1.0}, count=2)),
    }


@pytest.mark.parametrize("name", sparing.names(["mixture", "iterates", "ahead", "teacher", "average"], "iterates"))
def test_a_resumed_game_is_the_same_bit_for_bit(tmp_path, model, start, name):
    plan = run.Plan(tmp_path, steps=3, save_every=1)
    whole = online.run_online(games(model)[name], plan, start)
    assert resuming.forget(tmp_path) == 1
    again = online.run_online(games(model)[name], plan, start)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, whole.opt_state)
    changed = [float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (whole.params, start)), strict=True)]
    assert max(changed) > 1e-3
    assert all(np.isfinite(line["loss"]) for line in metrics.read(tmp_path / "metrics.jsonl"))


def test_a_half_step_moves_nothing_but_the_opponent(tmp_path, model, start):
    one = online.run_online(games(model)["ahead"], run.Plan(tmp_path, steps=1), start)
    jax.tree.map(np.testing.assert_array_equal, one.params, start)
    ahead = extragradient.opponent(one.opt_state, one.params)
    assert any(bool(jnp.any(x != y)) for x, y in zip(*map(jax.tree.leaves, (ahead, start)), strict=True))


def test_the_policy_draws_as_without_an_opponent_and_mixtures_are_of_logits(model, start):
    rows = jnp.tile(jnp.array([[1, 2]]), (4, 1)), jnp.full(4, 2), jnp.arange(4)
    other = model.init(jax.random.key(3))
    given = jax.device_put(rows, model.row_sharding)
    players = player.Players({"policy": 0.25, "ref": 0.75}, count=2)
    rollout = player.Sampler(model, SAMPLING, 5, players=players)({"policy": start, "ref": other}, *given, KEY)
    alone = generate.make_generate(model, SAMPLING, 3)(start, *given, KEY)
    np.testing.assert_array_equal(rollout.groups.completions[:, :3], alone.groups.completions)
    first = rollout.groups.completions[:, 3:, 0]
    groups = dataclasses.replace(
        rollout.groups,
        completions=jnp.broadcast_to(
            jnp.arange(model.config.vocab_size)[None, :, None], (4, model.config.vocab_size, 1)
        ),
        completion_lengths=jnp.ones((4, model.config.vocab_size), int),
        completion_mask=jnp.ones((4, model.config.vocab_size, 1), bool),
    )
    mine, theirs = (model.token_stats(x, groups).logps[..., 0] for x in (start, other))
    mixed = jax.nn.log_softmax(0.25 * mine + 0.75 * theirs)
    expected = jnp.take_along_axis(mixed, first, axis=1)
    np.testing.assert_allclose(rollout.sampler.logps[:, 3:, 0], expected, atol=1e-5)


KEY = jax.random.key(7)


def test_a_guest_draws_tokens_in_the_policys_place(model, start):
    """Of 2,000 first tokens of one prompt, each comes as often as (1 - a) pi + a guest has it, a = .3."""
    rows = jnp.tile(jnp.array([[1, 2]]), (4, 1)), jnp.full(4, 2), jnp.arange(4)
    other = model.init(jax.random.key(3))
    given, whole = jax.device_put(rows, model.row_sharding), arrangement.Arrangement(guest=("teacher", 0.3))
    fixed = {"teacher": reference.Fixed(model, other, WORDS)}
    sampler = player.Sampler(model, SAMPLING, 500, whole, fixed=fixed)
    assert not sampler.on_policy
    rollout = sampler({"policy": start, "teacher": other}, *given, KEY)
    mine, theirs = (jnp.exp(model.token_stats(x, rollout.groups).logps) for x in (start, other))
    mixed = 0.7 * mine + 0.3 * theirs
    assert abs(mine - theirs).max() > 0.1
    mask = rollout.groups.completion_mask
    np.testing.assert_allclose(jnp.exp(rollout.sampler.logps), jnp.where(mask, mixed, 1), rtol=1e-5)
    first = np.asarray(rollout.groups.completions)[..., 0].ravel()
    for token in range(model.config.vocab_size):
        if (first == token).any():
            probability = float(np.asarray(mixed)[..., 0].ravel()[first == token][0])
            assert np.mean(first == token) == pytest.approx(probability, abs=4 * (probability / 2000) ** 0.5)


def test_what_does_not_fit_is_refused(model):
    players, game = player.Players({"ref": 1.0}), nash_md.NashMD(preference=contest.hard)
    with pytest.raises(ValueError, match="takes all completions for the policy's own"):
        parts(model, grpo.GRPO(), players=players)
    with pytest.raises(ValueError, match="NashMD wants an opponent"):
        parts(model, game)
    with pytest.raises(ValueError, match="learns from the policy's own completions"):
        parts(model, game, players=player.Players({"ref": 1.0}, own={"ref": 1.0}))
    with pytest.raises(ValueError, match="looks ahead allows one update per rollout, not 2"):
        parts(model, game, players=player.Players({"ahead": 1.0}), updates_per_rollout=2)
    with pytest.raises(ValueError, match="the player 'past' is none of"):
        player.Sampler(model, SAMPLING, 4, players=player.Players({"past": 1.0}))
    with pytest.raises(ValueError, match="top_k=3 cuts"):
        player.Sampler(model, dataclasses.replace(SAMPLING, top_k=3), 4, players=players)
    with pytest.raises(ValueError, match="group_size=1 leaves nothing"):
        player.Sampler(model, SAMPLING, 1, players=players)
    guest = arrangement.Arrangement(guest=("teacher", 0.3))
    with pytest.raises(ValueError, match="top_k=3 cuts a guest's support"):
        player.Sampler(model, dataclasses.replace(SAMPLING, top_k=3), 4, guest)
    with pytest.raises(ValueError, match="the player 'teacher' is none of"):
        player.Sampler(model, SAMPLING, 4, guest)
    with pytest.raises(ValueError, match="draws no token, or all"):
        arrangement.Arrangement(guest=("teacher", 1.0))
    for wrong in ({"opponent": {"ref": 1.0}, "count": 0}, {"opponent": {}}):
        with pytest.raises(ValueError, match="at least"):
            player.Players(**wrong)


REF = {"players": player.Players({"ref": 1.0})}


@pytest.mark.parametrize(("recipe", "who", "idle"), [(grpo.GRPO(), {}, "idle', 't"), (nash_mp.NashMP(), REF, "idle")])
def test_versions_that_nobody_looks_at_are_refused(tmp_path, model, start, recipe, who, idle):
    versions = {"target": reference.Moving(1.0), "idle": reference.Moving(0.5)}
    kept = parts(model, recipe, versions=versions, **who)
    with pytest.raises(ValueError, match=rf"versions \['{idle}.*'\] would be kept for nothing"):
        online.run_online(kept, run.Plan(tmp_path, steps=1), start)
