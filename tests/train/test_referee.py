"""The policy as the judge of its own completions, in the online loop."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resuming
from test_online import parts

from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rewards import sample as samples
from posttrain_jax.rollout import sample
from posttrain_jax.train import judging, metrics, online, referee, run

WORDS = vocabulary.characters("abcd=")
SAMPLING = sample.Sampling(max_new_tokens=3, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id)


def made(completion, **example):
    return samples.Sample("2+2=", completion, example, 1, False)


def test_open_prompts_are_asked_with_all_answers_and_no_names():
    (message,) = referee.of_open([made("4", task="open"), made('four"', task="open")])
    text = message["content"]
    assert text.startswith("Task:\n2+2=\n\nAnswer 1, as a JSON string")
    assert '"4"' in text
    assert '"four\\""' in text  # no answer ends its own quotation
    assert referee.of_open([made("4", task="verify")]) is None
    assert referee.of_open([made("4")]) is None


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("so <scores>[10, 5]</scores>", [1, 0.5]),
        ("<scores>[10]</scores>", None),
        ("<scores>[11, 5]</scores>", None),
        ("<scores>[-1, 5]</scores>", None),
        ("<scores>ten, five</scores>", None),
        ("[10, 5]", None),
    ],
)
def test_scores_are_read_or_not(text, scores):
    assert referee.out_of_ten(text, 2) == scores


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


def about_a(group):
    """Prompts that begin with a or b, by the first letter of each completion; what is too long is not asked."""
    return None if group[0].prompt[0] in "cd" else "".join(one.completion[:1] or "d" for one in group)


def by_letter(text, count):
    """Unreadable where the judgement says nothing; else the first letter's number, and a place's hundredth."""
    if not text:
        return None
    return ["=abcd".index(text[0]) + place / 100 for place in range(count)]


@dataclasses.dataclass(frozen=True)
class Looking:
    """GRPO that remembers the rewards it was given."""

    needs_ref = False

    def init_memory(self):
        return {"total": jnp.zeros((4, 4)), "judge": jnp.zeros((4, 4)), "prompts": jnp.zeros((4,), jnp.int32)}

    def credit(self, rollout, rewards, columns, lookup, memory):
        told = {"total": rewards, "judge": columns["judge"], "prompts": rollout.groups.prompts[:, 1]}
        return grpo.GRPO(kl_coef=0.0).credit(rollout, rewards), told

    def loss(self, policy, batch):
        return grpo.GRPO(kl_coef=0.0).loss(policy, batch)


REFEREE = referee.Referee(SAMPLING, 5, about_a, by_letter, judgements=2, weight=0.5)


def verified(one):
    return math.nan if one.prompt[0] in "ab" else float(one.completion.count("c"))


def scored(model, tmp_path, judge=REFEREE, steps=1):
    rewards = pool.RewardPool(combine.WeightedRewards({"verified": (1.0, verified)}), workers=0, timeout_s=1.0)
    own = parts(model, recipe=Looking(), rewards=rewards, judge=judge, refuse_equal_rewards=False)
    plan = run.Plan(tmp_path, steps=steps, sample_every=1, save_every=1)
    return online.run_online(own, plan, model.init(jax.random.key(0)))


def test_open_prompts_have_the_referees_rewards_and_others_their_own(tmp_path, model):
    memory = jax.tree.map(np.asarray, scored(model, tmp_path).memory)
    opened = np.isin(memory["prompts"], [WORDS.encode("a")[0], WORDS.encode("b")[0]])
    assert 0 < opened.sum() < 4
    judged = memory["judge"]
    assert np.all(np.isnan(judged[~opened]))
    assert not np.any(np.isnan(memory["total"][~opened]))
    np.testing.assert_allclose(memory["total"][opened], 0.5 * judged[opened], rtol=1e-6)
    # a place of the question is given to each completion, in an order of the row's own, and two judgements are averaged
    hundredths = np.round((judged[opened] - np.floor(2 * judged[opened] + 1e-3) / 2) * 100)
    assert [sorted(row) for row in hundredths.tolist()] == [[0, 1, 2, 3]] * len(hundredths)
    shown = [json.loads(line)["reward"] for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    np.testing.assert_allclose(np.asarray(shown, np.float32), memory["total"][:4, 0], rtol=1e-5)
    (line,) = metrics.read(tmp_path / "metrics.jsonl")
    assert line["seconds/referee"] > 0
    assert line["unscored"] == 0


def test_a_resumed_run_is_judged_the_same(tmp_path, model):
    whole = scored(model, tmp_path, steps=3)
    assert resuming.forget(tmp_path) == 1
    again = scored(model, tmp_path, steps=3)
    for x, y in zip(jax.tree.leaves(whole.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match=r"a run with judge Referee\(.*weight=0\.5.*weight=1\.0"):
        scored(model, tmp_path, dataclasses.replace(REFEREE, weight=1.0), steps=4)


def test_what_is_too_long_or_cannot_be_read_has_no_score(tmp_path, model):
    for changes in ({"prompt_tokens": 3}, {"read": lambda text, count: None}):
        memory = scored(
            model, tmp_path / str(len(changes)) / next(iter(changes)), dataclasses.replace(REFEREE, **changes)
        ).memory
        assert np.all(np.isnan(memory["judge"]))
        assert np.isnan(memory["total"]).any()
        assert not np.isnan(memory["total"]).all()


def test_refusals(model):
    with pytest.raises(ValueError, match="judgements=0"):
        dataclasses.replace(REFEREE, judgements=0)
    judging.check(REFEREE, WORDS, model.mesh, (4, 6))
    with pytest.raises(ValueError, match="prompts of 62 and completions of 3 tokens exceed the 64 positions"):
        referee.Asked(dataclasses.replace(REFEREE, prompt_tokens=62), model, WORDS)
