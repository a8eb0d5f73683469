"""Completions that the data give, in the groups of the online loop."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resuming
import sparing

from posttrain_jax import types
from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.losses import difficulty
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.policy import filtered, grao, grpo, with_given
from posttrain_jax.recipes.preference import online_kl_dpo
from posttrain_jax.rewards import combine, pool, report
from posttrain_jax.rollout import generate, sample, selection
from posttrain_jax.train import given, metrics, online, optimizer, player, run

WORDS = vocabulary.characters("abcd=")
SAMPLING = sample.Sampling(max_new_tokens=4, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id)
GRAO = grao.GRAO()
MIXED = with_given.WithGiven(grpo.GRPO(kl_coef=0.0))
HYPO = online_kl_dpo.OnlineKLDPO(beta=0.5, kl_coef=0.1)


def letters_a(one):
    return float(one.completion.count("a"))


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def answered(*answers):
    """Prompts of two letters, each with the same answers; an empty text is no answer."""
    rows = [{"prompt": f"{a}{b}="} for a in "abcd" for b in "abcd"]
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=4, completion=4))
    ids = [WORDS.render_completion(text) if text else [] for text in answers]
    return prompts.give(encoded, [ids] * len(rows), width=4)


def parts(model, recipe, rows, reward=letters_a, **changes):
    rewards = pool.RewardPool(combine.WeightedRewards({"a": (1.0, reward)}), workers=0, timeout_s=1.0)
    settings = {"sampling": SAMPLING, "group_size": 4, "rewards": rewards} | changes
    return online.Online(
        model=model,
        recipe=recipe,
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        tokenizer=WORDS,
        data=iterate.Batches(rows, prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0),
        **settings,
    )


def runs(model):
    unrewarded = {"rewards": None, "refuse_equal_rewards": False}
    return {
        "grao": parts(model, GRAO, answered("aaa")),
        "grpo": parts(model, MIXED, answered("aaa"), updates_per_rollout=2),
        "hypo": parts(model, HYPO, answered("aa", "b"), **unrewarded),
    }


@pytest.mark.parametrize("name", sparing.names(["grao", "grpo", "hypo"], "grao"))
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path, model, start, name):
    plan = run.Plan(tmp_path, steps=3, save_every=1)
    whole = online.run_online(runs(model)[name], plan, start)
    assert resuming.forget(tmp_path) == 1
    again = online.run_online(runs(model)[name], plan, start)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, whole.opt_state)
    assert all(np.isfinite(line["loss"]) for line in metrics.read(tmp_path / "metrics.jsonl"))


def logps(model, params, rows):
    """Of the given completions [P, K], as the loop would lay them out."""
    batch = iterate.ahead(parts(model, GRAO, rows).data)
    own = jnp.zeros((4, 1, 4), jnp.int32)
    groups = types.Groups(*map(jnp.asarray, (batch.prompts, batch.prompt_lengths)), own, own[..., 0], own > 0, IDS)
    joined = given._groups(groups, jnp.asarray(batch.columns["given"]), WORDS.pad_id)
    return jnp.sum(model.token_stats(params, joined).logps, axis=-1)


IDS = jnp.arange(4)


def test_answers_are_imitated_and_pairs_preferred(tmp_path, model, start):
    """GRAO learns the answer that earns most; HyPO moves the pair apart; both drew it from nowhere else."""
    learned = online.run_online(runs(model)["grao"], run.Plan(tmp_path / "grao", steps=15), start)
    before, after = (jnp.mean(logps(model, x, answered("aaa"))) for x in (start, learned.params))
    assert after > before + 2
    lines = metrics.read(tmp_path / "grao" / "metrics.jsonl")
    assert [line["reward_given"] for line in lines] == [3.0] * 15
    assert lines[-1]["reward"] > lines[0]["reward"] + 0.5
    learned = online.run_online(runs(model)["hypo"], run.Plan(tmp_path / "hypo", steps=15), start)
    before, after = (logps(model, x, answered("aa", "b")) for x in (start, learned.params))
    assert jnp.mean(after[:, 0] - after[:, 1]) > jnp.mean(before[:, 0] - before[:, 1]) + 2
    lines = metrics.read(tmp_path / "hypo" / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert lines[-1]["accuracy"] == 1
    assert all(line["reward"] == 0 and line["unscored"] == 0 for line in lines)


def test_a_better_answer_from_elsewhere_is_learned_by_a_policy_gradient(tmp_path, model, start):
    learned = online.run_online(runs(model)["grpo"], run.Plan(tmp_path, steps=15), start)
    before, after = (jnp.mean(logps(model, x, answered("aaa"))) for x in (start, learned.params))
    assert after > before + 2


def test_a_wrapped_recipe_has_its_given_answers_too(tmp_path, model, start):
    recipe = filtered.Filtered(GRAO, keep=difficulty.Spread(0.0))
    learned = online.run_online(parts(model, recipe, answered("aaa")), run.Plan(tmp_path, steps=15), start)
    before, after = (jnp.mean(logps(model, x, answered("aaa"))) for x in (start, learned.params))
    assert after > before + 1


def test_selected_groups_hold_what_was_given(tmp_path, model, start):
    """Only groups with a completion that is worse than the answer; those of the answer alone leave."""
    chosen = selection.Refill(keep=difficulty.Spread(0.0), max_rounds=20)
    setup = parts(model, GRAO, answered("aaa"), selection=chosen)
    online.run_online(setup, run.Plan(tmp_path, steps=2), start)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert [(line["reward_given"], line["equal_groups"]) for line in lines] == [(3.0, 0.0)] * 2


def test_the_group_by_hand(model, start):
    """Behind the policy's samples, which stay as they are; scored by the policy; once where rows share a prompt."""
    sampler = player.Sampler(model, SAMPLING, 4, GRAO.arrangement)
    ids = jax.device_put(jnp.array([0, 1, 1, -1]), model.row_sharding)
    asked = jax.device_put((jnp.tile(jnp.array([[1, 2]]), (4, 1)), jnp.full(4, 2)), model.row_sharding)
    column = jnp.tile(jnp.array([[[3.0, 1.0, -1.0]]]), (4, 1, 1))
    key = jax.random.key(7)
    rollout = sampler({"policy": start}, *asked, ids, key, column)
    alone = generate.make_generate(model, SAMPLING, 3)(start, *asked, ids, key)
    jax.tree.map(np.testing.assert_array_equal, rollout.groups.completions[:, :3], alone.groups.completions)
    np.testing.assert_array_equal(rollout.sampler.logps[:, :3], alone.sampler.logps)
    np.testing.assert_array_equal(rollout.given, [[False, False, False, True]] * 4)
    np.testing.assert_array_equal(rollout.groups.completion_lengths[:, 3], [2, 2, 0, 0])
    np.testing.assert_array_equal(rollout.groups.completions[0, 3], [3, 1, WORDS.pad_id, WORDS.pad_id])
    np.testing.assert_array_equal(rollout.truncated[:, 3], False)
    policy = model.token_stats(start, rollout.groups)
    np.testing.assert_allclose(rollout.sampler.logps[:2, 3], policy.logps[:2, 3], atol=1e-6)
    assert float(policy.logps[0, 3, 0]) < 0
    np.testing.assert_array_equal(np.any(sampler.own(rollout), axis=2)[:, 3], False)
    halved = dataclasses.replace(SAMPLING, temperature=0.5)
    cold = player.Sampler(model, halved, 4, GRAO.arrangement)({"policy": start}, *asked, ids, key, column)
    expected = model.token_stats(start, cold.groups, temperature=0.5).logps
    np.testing.assert_allclose(cold.sampler.logps[:2, 3], expected[:2, 3], atol=1e-6)


def test_who_is_not_asked_about_has_no_reward():
    told = report.ScoreReport(4, timeouts=0, errors=0, crashes=0, invalid=0, first_error=None)
    wins = np.full((2, 2, 2), 0.5, np.float32)
    failed = np.array([[False, True], [False, False]])
    scores = report.Scores(np.ones((2, 2), np.float32), np.ones((2, 2, 1), np.float32), ("a",), told, failed, wins)
    here = rollout_of(jnp.array([[1, 1, 1], [1, 1, 0]]))
    wide = given.scored(scores, here, rewarded=False)
    np.testing.assert_array_equal(wide.rewards, [[1, 1, np.nan]] * 2)
    np.testing.assert_array_equal(wide.columns[..., 0], [[1, 1, np.nan]] * 2)
    np.testing.assert_array_equal(np.isnan(wide.wins[0]), [[False, False, True], [False, False, True], [True] * 3])
    np.testing.assert_array_equal(wide.failed, [[False, True, False], [False] * 3])
    none = np.zeros((2, 3), bool)
    whole = report.Scores(np.ones((2, 3), np.float32), np.ones((2, 3, 1), np.float32), ("a",), told, none)
    rewarded = given.scored(whole, here, rewarded=True)
    np.testing.assert_array_equal(rewarded.rewards, [[1, 1, 1], [1, 1, np.nan]])
    alone = dataclasses.replace(here, given=None)
    assert given.scored(whole, alone, rewarded=True) is whole


def rollout_of(lengths):
    tokens = jnp.ones((*lengths.shape, 1), jnp.int32)
    groups = types.Groups(tokens[:, 0], tokens[:, 0, 0], tokens, lengths, tokens > 0, jnp.arange(len(lengths)))
    marks = jnp.broadcast_to(jnp.arange(lengths.shape[1]) == lengths.shape[1] - 1, lengths.shape)
    stats = types.TokenStats(jnp.zeros(tokens.shape), jnp.zeros(tokens.shape))
    return types.Rollout(groups, stats, truncated=jnp.zeros(lengths.shape, bool), given=marks)


def test_what_does_not_fit_is_refused(tmp_path, model, start):
    bare = [dataclasses.replace(row, tokens=dataclasses.replace(row.tokens, columns={})) for row in answered("a")]
    short = dataclasses.replace(SAMPLING, max_new_tokens=3)
    cut = dataclasses.replace(SAMPLING, top_k=3)
    for wrong, sentence in (
        (parts(model, GRAO, bare), r"GRAO wants 1 given completion\(s\) in each group and the data have no column"),
        (parts(model, GRAO, answered("a", "b")), "wants 1 given .* and the data give 2"),
        (parts(model, grpo.GRPO(), answered("a")), "GRPO draws all of its own: leave the column 'given' out"),
        (parts(model, GRAO, answered("a"), sampling=short), "up to 4 tokens and a group has room for max_new_tokens=3"),
        (parts(model, GRAO, answered("a"), sampling=cut), "top_k=3 may rule given tokens out"),
        (parts(model, GRAO, answered("a"), group_size=1), "leaves no sample beside 0 greedy and 1 given"),
    ):
        with pytest.raises(ValueError, match=sentence):
            online.run_online(wrong, run.Plan(tmp_path, steps=1), start)
    with pytest.raises(ValueError, match="nobody rewards"):
        parts(model, GRAO, answered("a"), rewards=None)
    with pytest.raises(ValueError, match="leaves no place for an opponent"):
        player.Sampler(model, SAMPLING, 4, GRAO.arrangement, players=player.Players({"ref": 1.0}))
    with pytest.raises(ValueError, match="completion of row 0 has 5 tokens and there is room for 4"):
        answered("abcd")
