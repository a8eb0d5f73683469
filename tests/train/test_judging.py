"""Reward models as rewards of the online loop."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.losses import ensemble, maxmin
from posttrain_jax.models import scalar_model, sharding, vocabulary
from posttrain_jax.recipes.policy import grpo, spo
from posttrain_jax.recipes.policy import maxmin as of_the_worst
from posttrain_jax.recipes.reward_model import general_preference
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rewards import sample as samples
from posttrain_jax.rollout import sample
from posttrain_jax.train import judging, metrics, online, optimizer, rereading, run

WORDS = vocabulary.characters("abcd=")


READING = rereading.Reading(fields.PromptFields(), encode.Limits(prompt=60, completion=6))


def length(one):
    return one.completion_tokens / 6


@dataclasses.dataclass(frozen=True)
class Looking:
    """GRPO that remembers the rewards it was given."""

    needs_ref = False

    def init_memory(self):
        return dict.fromkeys(("total", "judge", "sometimes"), jnp.zeros((4, 4)))

    def credit(self, rollout, rewards, columns, lookup, memory):
        told = {"total": rewards, "judge": columns["judge"], "sometimes": columns["sometimes"]}
        return grpo.GRPO(kl_coef=0.0).credit(rollout, rewards), told

    def loss(self, policy, batch):
        return grpo.GRPO(kl_coef=0.0).loss(policy, batch)


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


def trunk(tiny):
    """Reads the last token alone, which is enough of a judge."""
    model = tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)
    return dataclasses.replace(model, config=dataclasses.replace(model.config, hidden_size=8))


@pytest.fixture(scope="module")
def judge(tiny):
    head = scalar_model.ScalarModel(trunk(tiny))
    members = tuple(head.init(jax.random.key(seed), spread=1.0) for seed in range(2))
    return judging.Judge(head, members, WORDS, ensemble.worst_case, weight=0.5)


def test_an_ensemble_is_asked_in_one_program_and_reduced(tiny, judge):
    groups = tiny.groups(judge.model)
    groups = dataclasses.replace(groups, completions=groups.completions % 8, prompts=groups.prompts % 8)
    single = [jax.jit(judge.model.rewards)(params, groups)[..., 0] for params in judge.members]
    both = judging.make_score(judge)(judge.members, judging.Read(groups, None))
    np.testing.assert_allclose(both.rewards, jnp.minimum(*single), atol=1e-6)
    assert both.rewards.sharding.is_equivalent_to(judge.model.row_sharding, 2)
    assert both.steps is None


def asked(letters):
    rows = [{"prompt": f"{a}{b}="} for a in letters for b in letters]
    return prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=4, completion=6))[0]


def parts(model, judge, terms):
    return online.Online(
        model=model,
        recipe=grpo.GRPO(),
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        tokenizer=WORDS,
        data=iterate.Batches(asked("abcd"), prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0),
        rewards=pool.RewardPool(combine.WeightedRewards(terms), workers=0, timeout_s=1.0) if terms else None,
        sampling=sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        group_size=4,
        judge=judge,
    )


def test_the_loop_adds_what_the_judge_says(tmp_path, model, judge):
    own = parts(model, judge, {"length": (0.1, length)})
    online.run_online(own, run.Plan(tmp_path, steps=3), model.init(jax.random.key(0)))
    lines = metrics.read(tmp_path / "metrics.jsonl")
    for line in lines:
        expected = 0.1 * line["reward/length"] + 0.5 * line["reward/judge"]
        assert line["reward"] == pytest.approx(expected, abs=1e-5)
    assert lines[0]["reward/judge"] != lines[-1]["reward/judge"]


def test_a_judge_that_would_misread_is_refused(model, judge):
    judging.check(judge, WORDS, model.mesh, (4, 6))
    other = vocabulary.characters("abcx=")
    with pytest.raises(ValueError, match="another tokenizer than the policy: 2 tokens, 'd' among them"):
        judging.check(judge, other, model.mesh, (4, 6))
    with pytest.raises(ValueError, match="another mesh than the policy"):
        judging.check(judge, WORDS, sharding.make_mesh(), (4, 6))
    with pytest.raises(ValueError, match="exceed the 64 positions"):
        judging.check(dataclasses.replace(judge, reading=READING), other, model.mesh, (4, 6))
    with pytest.raises(ValueError, match="a judge without members says nothing"):
        dataclasses.replace(judge, members=())


def test_a_judge_is_told_without_its_mesh_and_its_parameters(judge):
    assert "members=2" in repr(judge)
    assert "Mesh" not in repr(judge)
    assert "Array" not in repr(judge)


@pytest.mark.parametrize(
    ("name", "whose"), [("judge", "the judge's"), ("wins", "comparisons"), ("opponent", "the opponent's")]
)
def test_a_reward_that_has_the_name_of_anothers_column_is_refused(tmp_path, model, judge, name, whose):
    with pytest.raises(ValueError, match=f"a reward has the name '{name}', which is that of {whose}"):
        online.run_online(parts(model, judge, {name: (0.1, length)}), run.Plan(tmp_path, steps=3), {})


def sometimes(one):
    """Fails of completions that begin with a, does not apply to those that begin with b."""
    if one.completion.startswith("a"):
        raise RuntimeError("not of a")
    return math.nan if one.completion.startswith("b") else 1.0


def test_a_completion_that_no_reward_of_text_applies_to_has_the_judges_alone(tmp_path, model, judge):
    own = dataclasses.replace(parts(model, judge, {"sometimes": (0.25, sometimes)}), recipe=Looking())
    state = online.run_online(own, run.Plan(tmp_path, steps=1), model.init(jax.random.key(0)))
    total, judged, text = (np.asarray(state.memory[name]) for name in ("total", "judge", "sometimes"))
    failed, applied = np.isnan(total), ~np.isnan(text)
    assert 0 < failed.sum() < (~applied).sum() < 16  # the judge is asked about those that failed, to no avail
    np.testing.assert_allclose(total[applied], 0.25 + 0.5 * judged[applied], rtol=1e-6)
    np.testing.assert_allclose(total[~applied & ~failed], 0.5 * judged[~applied & ~failed], rtol=1e-6)
    # people see what is learned from
    shown = [json.loads(line)["reward"] for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(np.asarray(shown, np.float32), total[:4, 0], rtol=1e-5)


def test_a_judge_may_reward_alone_and_somebody_must(tmp_path, model, judge):
    own = parts(model, judge, {})
    online.run_online(own, run.Plan(tmp_path, steps=1), model.init(jax.random.key(0)))
    (line,) = metrics.read(tmp_path / "metrics.jsonl")
    beside = parts(model, judge, {"length": (0.0, length)})
    online.run_online(beside, run.Plan(tmp_path / "beside", steps=1), model.init(jax.random.key(0)))
    (other,) = metrics.read(tmp_path / "beside" / "metrics.jsonl")
    assert line["unscored"] == 0
    assert (line["reward"], line["loss"]) == (other["reward"], other["loss"])
    with pytest.raises(ValueError, match="nobody rewards"):
        dataclasses.replace(own, judge=None)


def written(completion, truncated):
    return samples.Sample("ab=", completion, {"prompt": "ab="}, len(completion), truncated)


def test_a_judge_with_its_own_tokenizer_says_of_a_text_what_it_says_of_its_tokens(tiny, judge):
    """Its alphabet is turned round, and so are the rows of its embedding."""
    theirs = vocabulary.characters("=dcba")
    reading = dataclasses.replace(READING, limits=encode.Limits(prompt=4, completion=6))
    texts = [[written("abd", False), written("dcabaa", True)]] * 3
    reread = reading(texts, theirs, (4, 2))
    own = rereading.Reading(reading.read, reading.limits)(texts, WORDS, (4, 2))
    np.testing.assert_array_equal(own.groups.completions[0, 0, :4], [*WORDS.encode("abd"), WORDS.eos_id])
    np.testing.assert_array_equal(own.groups.completions[2, 1], WORDS.encode("dcabaa"))
    np.testing.assert_array_equal(reread.known, [[True, True]] * 3 + [[False, False]])
    assert (own.groups.completions != reread.groups.completions).any()
    names, turned = WORDS.pretrained.get_vocab(), theirs.pretrained.get_vocab()
    order = np.arange(judge.model.config.vocab_size)
    for name, index in turned.items():
        order[index] = names[name]
    members = tuple({**one, "embedding": one["embedding"][order]} for one in judge.members)
    score, put = judging.make_score(judge), lambda x: tiny.rows(judge.model, x)
    here, there = (judging.Read(one.groups.to_device(put), put(one.known)) for one in (own, reread))
    expected, got = score(judge.members, here).rewards, score(members, there).rewards
    np.testing.assert_allclose(got[:3], expected[:3], atol=1e-6)
    assert np.isnan(got[3]).all()


def test_the_loop_leaves_out_what_the_judge_cannot_read(tmp_path, model, judge):
    """It knows no letter d: of a completion that has one it says nothing."""
    reading = dataclasses.replace(READING, limits=encode.Limits(prompt=4, completion=6))
    other = dataclasses.replace(judge, tokenizer=vocabulary.characters("=abcx"), reading=reading)
    own = parts(model, other, {})
    own = dataclasses.replace(own, data=iterate.Batches(asked("abc"), prompts.Pad([4], 0), batch_size=4, seed=0))
    online.run_online(own, run.Plan(tmp_path, steps=1), model.init(jax.random.key(0)))
    (line,) = metrics.read(tmp_path / "metrics.jsonl")
    assert 0 < line["unscored"] < 1
    assert np.isfinite(line["reward"])
    assert "reading=Reading" in repr(other)


def test_a_judge_of_pairs_rewards_the_share_that_is_beaten(tmp_path, tiny, model):
    """General preferences, which need not agree with any reward: one embedding of each completion."""
    head = scalar_model.ScalarModel(trunk(tiny), size=4, gates=2)
    recipe = general_preference.GeneralPreference(width=16, temperature=0.5)
    members = (head.init(jax.random.key(1), spread=1.0),)
    judge = judging.Judge(head, members, WORDS, ensemble.mean, compare=recipe.wins)
    groups = tiny.groups(head, G=3)
    groups = dataclasses.replace(groups, completions=groups.completions % 8, prompts=groups.prompts % 8)
    known = jnp.ones((8, 3), bool).at[1, 0].set(False)
    said = judging.make_score(judge)(members, judging.Read(groups, tiny.rows(head, known)))
    embeddings, gates = head.ends(members[0], groups)
    score = recipe.preference(gates, embeddings[:, 0], embeddings[:, 1])
    np.testing.assert_allclose(said.wins[2:, 0, 1], jax.nn.sigmoid(2 * score)[2:], atol=1e-6)
    np.testing.assert_allclose(said.wins + jnp.swapaxes(said.wins, 1, 2), jnp.where(jnp.isnan(said.wins), jnp.nan, 1))
    np.testing.assert_allclose(said.rewards[2:].mean(axis=1), 0.5, atol=1e-6)
    np.testing.assert_array_equal(jnp.isnan(said.rewards), ~known)
    own = dataclasses.replace(parts(model, judge, {}), recipe=spo.SPO())
    online.run_online(own, run.Plan(tmp_path, steps=2), model.init(jax.random.key(0)))
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert [line["reward"] for line in lines] == pytest.approx([0.5] * 2, abs=1e-5)
    assert all(line["grad_norm"] > 0 for line in lines)
    with pytest.raises(ValueError, match="leave steps or compare out"):
        dataclasses.replace(judge, steps=lambda *_: None)


def test_each_number_of_a_judge_is_an_objective_of_its_own(tmp_path, tiny, model):
    """Groups of people, of whom the worst off counts: the authors' and the paper's way differ."""
    head = scalar_model.ScalarModel(trunk(tiny), size=2)
    judge = judging.Judge(head, (head.init(jax.random.key(1), spread=1.0),), WORDS, ensemble.worst_case)
    recipe = of_the_worst.MaxMin(("judge/0", "judge/1"), maxmin.Weighted(1.0), grpo.GRPO(kl_coef=0.0))
    own = dataclasses.replace(parts(model, judge, {}), recipe=recipe)
    online.run_online(own, run.Plan(tmp_path, steps=2), model.init(jax.random.key(0)))
    first, second = metrics.read(tmp_path / "metrics.jsonl")
    shares = [line[f"weight/judge/{group}"] for line in (first, second) for group in (0, 1)]
    assert shares[0] + shares[1] == pytest.approx(1, abs=1e-5)
    assert shares[0] != pytest.approx(0.5, abs=1e-3)
    assert first["grad_norm"] > 0
    groups = tiny.groups(head)
    groups = dataclasses.replace(groups, completions=groups.completions % 8, prompts=groups.prompts % 8)
    known = tiny.rows(head, jnp.ones((8, 2), bool).at[1, 0].set(False))
    said = judging.make_score(judge)(judge.members, judging.Read(groups, known))
    np.testing.assert_array_equal(said.rewards, jnp.min(said.each, axis=-1))
    np.testing.assert_array_equal(jnp.isnan(said.each).all(axis=-1), ~known)


def test_conversations_are_read_in_the_judges_own_template():
    """It writes a semicolon behind every turn, and refuses an empty one."""
    theirs = vocabulary.byte_pairs(["ab"], 259)
    turn = "{% if m['content'] == '' %}{{ raise_exception('empty') }}{% endif %}{{ m['content'] }};"
    theirs.pretrained.chat_template = "{% for m in messages %}" + turn + "{% endfor %}"
    read = lambda row: [{"role": "user", "content": row["prompt"]}]  # noqa: E731
    reading = rereading.Reading(read, encode.Limits(prompt=6, completion=4))
    found = reading([[written("ba", False), written("ba", True), written("", False)]], theirs, (1, 3))
    prompt = found.groups.prompts[0, : found.groups.prompt_lengths[0]]
    assert prompt.tolist() == [*([] if theirs.bos_id is None else [theirs.bos_id]), *theirs.encode("ab=;")]
    np.testing.assert_array_equal(found.known, [[True, True, False]])
    np.testing.assert_array_equal(found.groups.completion_lengths, [[4, 3, 1]])
    assert found.groups.completions[0, 0].tolist() == [*theirs.encode("ba;"), theirs.eos_id]
