"""Dialogues in the online loop: rewards, credit by turns, resuming, and what is refused."""

import dataclasses
import re

import bigram
import jax
import numpy as np
import pytest
import resuming

from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.environment import dialogue, host
from posttrain_jax.losses import segment
from posttrain_jax.models import lora, sharding, vocabulary
from posttrain_jax.recipes.policy import gigpo, grpo, hrpo, otc, remax, salt
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rewards import dialogue as talking
from posttrain_jax.rollout import rehearsal, sample, selection, turn
from posttrain_jax.train import evaluate, metrics, online, optimizer, player, run

WORDS = vocabulary.characters("abc=;]")
END = WORDS.encode("]")[0]
SAMPLING = sample.Sampling(20, (*WORDS.stop_ids, END), pad_id=WORDS.pad_id)


def steps(asked):
    """One turn more for every "a" that the last turn begins with, which earns 1; three turns at most, of six calls."""
    number, text = len(asked.turns), asked.turns[-1].text
    if number == 3 or not text.startswith("a"):
        return dialogue.Reply(None, reward=0.5)
    seen = (asked.memory or "") + text[:2]
    return dialogue.Reply("b;", reward=1.0, state=seen, calls=1, errors=int("c" in text), memory=seen)


def many(one):
    """Of what the policy said in all turns, how much is a."""
    said = re.sub("<[a-z]+>", "", "".join(turn.text for turn in one.turns))
    assert one.completion in (said, said.removesuffix("]"))
    assert one.counts["turns"] == len(one.turns)
    return one.completion.count("a") / 10


def model():
    return bigram.model(sharding.make_mesh(), WORDS.vocab_size + WORDS.vocab_size % 2)


def inclined():
    """A policy that begins turns with a, ends them soon, and writes no special tokens but the end."""
    params = jax.tree.map(np.array, model().init(jax.random.key(0)))
    params["embedding"][:, 0] = 9.0  # a constant: its row of the head is a bias
    params["head"] *= 0.3
    for token, bias in ((WORDS.encode("a")[0], 2.0), (END, 1.5), (WORDS.pad_id, -9.0), (WORDS.bos_id, -9.0)):
        params["head"][0, token] = bias
    return jax.device_put(params, jax.tree.map(lambda x: x.sharding, model().abstract_params()))


START = inclined()


def parts(*, recipe=None, reward=many, environment=steps, limit=4, rows=None, **changes):
    rows = [{"prompt": f"{a}{b}="} for a in "abc" for b in "abc"] if rows is None else rows
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(4, 6))
    there = host.Host(environment, workers=0, timeout_s=1.0)
    given = {
        "model": model(),
        "recipe": recipe or gigpo.GiGPO(recipe=grpo.GRPO(kl_coef=0.0)),
        "optimizer": optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        "tokenizer": WORDS,
        "data": iterate.Batches(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0),
        "rewards": pool.RewardPool(combine.WeightedRewards({"many": (1.0, reward)}), workers=0, timeout_s=1.0),
        "sampling": SAMPLING,
        "group_size": 6,
        "turns": turn.Turns(there, limit, output_tokens=4),
    }
    return online.Online(**given | changes)


def leaves(state):
    return [np.asarray(x) for x in jax.tree.leaves((state.params, state.opt_state, state.memory, state.step))]


def test_a_run_tells_what_was_counted_and_a_resumed_one_is_the_same_bit_for_bit(tmp_path, recwarn):
    """Through a selection too, which holds rollouts in numpy."""
    recipe = otc.OTC(prompts=9, limit=4.0, recipe=gigpo.GiGPO(recipe=grpo.GRPO(kl_coef=0.0)))

    def made(**changes):
        return parts(recipe=recipe, selection=selection.Everything(), **changes)

    plan = run.Plan(tmp_path / "whole", steps=4, save_every=2, sample_every=1)
    whole = online.run_online(made(), plan, START)
    lines = metrics.read(tmp_path / "whole" / "metrics.jsonl")
    assert {"turns", "calls", "errors", "own_tokens"} <= lines[-1].keys()
    assert 1 <= lines[-1]["turns"] <= 3
    assert lines[-1]["own_tokens"] < lines[-1]["completion_length"]
    assert "b;" in (tmp_path / "whole" / "samples.jsonl").read_text()
    assert "Turns(host=Host(" in (tmp_path / "whole" / "run.json").read_text()
    assert not [one for one in recwarn if "compiled" in str(one.message)]

    short = dataclasses.replace(plan, folder=tmp_path / "parts", steps=2)
    online.run_online(made(), short, START)
    again = online.run_online(made(), dataclasses.replace(short, steps=4), START)
    for x, y in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match="holds a run with turns"):
        online.run_online(made(limit=2), dataclasses.replace(short, steps=6), START)


def test_what_the_policy_is_rewarded_for_it_says_more_often(tmp_path):
    online.run_online(parts(), run.Plan(tmp_path, steps=12), START)
    rewards = [line["reward"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.05


PLAIN = grpo.GRPO(kl_coef=0.0)
RECIPES = {
    "grpo": PLAIN,
    "gigpo": gigpo.GiGPO(discount=0.9, recipe=PLAIN),
    "salt": salt.SALT(PLAIN),
    "hrpo": hrpo.HRPO(step_coef=0.5, compare=segment.centered, recipe=PLAIN),
    "otc": otc.OTC(prompts=4, limit=4.0, recipe=PLAIN),
}


@dataclasses.dataclass(frozen=True)
class Watched:
    """Learns as the first recipe does, and keeps what all of them would make of the rollout."""

    seen: list = dataclasses.field(default_factory=list, hash=False)

    needs_ref = False

    def init_memory(self):
        return RECIPES["otc"].init_memory()

    def credit(self, rollout, rewards, columns, lookup, memory):
        batches = {name: one.credit(rollout, rewards) for name, one in RECIPES.items() if name != "otc"}
        batches["otc"], memory = RECIPES["otc"].credit(rollout, rewards, columns, lookup, memory)
        advantages = {name: batch.advantages for name, batch in batches.items()}
        jax.debug.callback(lambda *found: self.seen.append(jax.device_get(found)), rollout, rewards, advantages)
        return batches["grpo"], memory

    def loss(self, policy, batch):
        return PLAIN.loss(policy, batch)


@pytest.fixture(scope="module")
def credited(tmp_path_factory):
    """Of a step of the loop: groups of dialogues as text with their rewards, and the advantages of their turns."""
    watched, rows = Watched(), [{"prompt": f"{a}="} for a in "abc"] + [{"prompt": "aa="}]
    # a budget that no dialogue exhausts: every turn ends
    roomy = dataclasses.replace(SAMPLING, max_new_tokens=48)
    plan = run.Plan(tmp_path_factory.mktemp("run"), steps=1)
    online.run_online(parts(recipe=watched, rows=rows, group_size=12, sampling=roomy), plan, START)
    rollout, rewards, advantages = watched.seen[0]
    assert not rollout.truncated.any()
    tokens, mask, ids = rollout.groups.completions, rollout.groups.completion_mask, rollout.segments.ids

    def talk(at):
        turns = turn.texts(WORDS, tokens[at], mask[at], ids[at])
        found = {name: [x[at][mask[at] & (ids[at] == k)] for k in range(len(turns))] for name, x in advantages.items()}
        assert all(np.ptp(value) < 1e-6 for values in found.values() for value in values)
        first = {name: [float(value[0]) for value in values] for name, values in found.items()}
        prompt = rollout.groups.prompts[at[0]][: rollout.groups.prompt_lengths[at[0]]].tolist()
        before = [prompt + tokens[at][: np.argmax(ids[at] == k)].tolist() for k in range(len(turns))]
        return Talk([one.text for one in turns], float(rewards[at]), first, before)

    return [[talk((p, g)) for g in range(12)] for p in range(4)]


@dataclasses.dataclass
class Talk:
    """A completion as people would write it down."""

    turns: list
    reward: float
    advantages: dict
    before: list
    """The tokens that stand before each turn, the prompt's among them."""

    def states(self):
        """What each turn was chosen from, as `steps` says."""
        return ["".join(text[:2] for text in self.turns[:k]) for k in range(len(self.turns))]

    def earned(self):
        """By turn: all but the last went on, and nothing was cut short."""
        return [1.0] * (len(self.turns) - 1) + [0.5]


def zscores(values):
    return (
        (np.asarray(values) - np.mean(values)) / (np.std(values, ddof=1) + 1e-6)
        if np.ptp(values)
        else 0 * np.asarray(values)
    )


def to_go(one):
    """What each turn and those behind it earned, discounted by turn; the completion's reward comes with the last."""
    pay, behind, found = one.earned(), 0.0, []
    pay[-1] += one.reward
    for value in reversed(pay):
        behind = value + 0.9 * behind
        found.insert(0, behind)
    return found


def test_gigpo_compares_turns_that_met_the_same_state(credited):
    shared = 0
    for ours in credited:
        whole = [sum(one.earned()) + one.reward for one in ours]
        ahead = [to_go(one) for one in ours]
        for i, one in enumerate(ours):
            for k, state in enumerate(one.states()):
                same = [ahead[j][n] for j, other in enumerate(ours) for n, s in enumerate(other.states()) if s == state]
                shared += k > 0 and len(same) > 1
                expected = whole[i] - np.mean(whole) + ahead[i][k] - np.mean(same)
                assert one.advantages["gigpo"][k] == pytest.approx(expected, abs=1e-5)
    assert shared > 5


def test_salt_averages_what_completions_did_alike(credited):
    merged = 0
    for ours in credited:
        edges = {}
        for one, value in zip(ours, zscores([one.reward for one in ours]), strict=True):
            states = [*one.states(), "the end"]
            for k, text in enumerate(one.turns):
                edges.setdefault((states[k], text, states[k + 1]), []).append((one, k, value))
        for found in edges.values():
            merged += len(found) > 1
            for one, k, _ in found:
                mean = np.mean([value for *_, value in found])
                assert one.advantages["salt"][k] == pytest.approx(mean, abs=1e-4)
    assert merged > 0


def test_hrpo_adds_what_single_turns_earned(credited):
    for ours in credited:
        mean = np.mean([x for one in ours for x in one.earned()])
        for one, value in zip(ours, zscores([one.reward for one in ours]), strict=True):
            expected = [value + 0.5 * (x - mean) for x in one.earned()]
            np.testing.assert_allclose(one.advantages["hrpo"], expected, atol=1e-4)


def test_the_trajectory_alone(credited):
    for ours in credited:
        for one, value in zip(ours, zscores([one.reward for one in ours]), strict=True):
            np.testing.assert_allclose(one.advantages["grpo"], value, atol=1e-4)


def test_otc_reads_the_calls_that_the_environment_counted(credited):
    differing = 0
    for ours in credited:
        calls = [len(one.turns) - 1 for one in ours]
        fewest = min(m for m, one in zip(calls, ours, strict=True) if one.reward > 0)
        frugal = [np.cos(np.pi * m / (2 * m + 4)) if fewest == 0 else np.sin(np.pi * m / (m + fewest)) for m in calls]
        values = zscores([one.reward * x for one, x in zip(ours, frugal, strict=True)])
        differing += len(set(calls)) > 1
        for one, value in zip(ours, values, strict=True):
            np.testing.assert_allclose(one.advantages["otc"], value, atol=1e-4)
    assert differing > 0


def test_a_turn_of_step_grpo_is_asked_for_behind_the_very_tokens_of_the_dialogue(credited):
    checked = 0
    for one in (one for ours in credited for one in ours):
        if not {*one.before[-1][1:]} <= {*WORDS.encode("abc=;]")}:
            continue  # special tokens that the policy wrote, EOS behind a turn among them, are no text of a row
        prompt = WORDS.decode(one.before[0])
        for number, row in enumerate(rehearsal.unroll(steps, {"prompt": prompt}, one.turns)):
            (asked,), _ = prompts.encode([row], fields.PromptFields("prompt"), WORDS, encode.Limits(48, 6))
            assert asked.tokens.prompt.tolist() == one.before[number]
            assert row["answer"] == one.turns[number]
            checked += number > 0
    assert checked > 5


@pytest.mark.slow
def test_adapters_learn_from_dialogues_and_a_resumed_run_is_the_same_bit_for_bit(tmp_path):
    vocab_size = WORDS.vocab_size + WORDS.vocab_size % 2
    base = bigram.decoder_model(sharding.make_mesh(), vocab_size)
    one = dataclasses.replace(base, config=dataclasses.replace(base.config, num_layers=1), lora=lora.Lora(2))
    start, plan = one.init(jax.random.key(0)), run.Plan(tmp_path, steps=2, save_every=1)
    whole = online.run_online(parts(model=one, reward=length), plan, start)
    assert whole.params.keys() == {lora.ADAPTERS}
    moved = zip(*(jax.tree.leaves(x[lora.ADAPTERS]) for x in (whole.params, start)), strict=True)
    assert all(np.any(x != y) for x, y in moved)
    line = metrics.read(tmp_path / "metrics.jsonl")[-1]
    assert line["own_tokens"] <= line["completion_length"]
    assert resuming.forget(tmp_path) == 1
    for x, y in zip(
        leaves(whole), leaves(online.run_online(parts(model=one, reward=length), plan, start)), strict=True
    ):
        np.testing.assert_array_equal(x, y)


def test_held_out_dialogues(tmp_path):
    made = parts()
    encoded, _ = prompts.encode(
        [{"prompt": f"{a}="} for a in "abc"], fields.PromptFields("prompt"), WORDS, encode.Limits(4, 6)
    )
    batches = list(iterate.one_pass(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=2))
    accuracy = evaluate.make_evaluate(
        made.model, WORDS, made.rewards, batches, SAMPLING, group_size=2, turns=made.turns
    )
    found = accuracy(START, 0)
    assert {"reward", "turns", "calls", "errors", "completion_length"} <= found.keys()
    assert 1 <= found["turns"] <= 3
    assert found == accuracy(START, 0)


def broken(asked):
    raise RuntimeError("no such tool")


def test_a_tool_that_always_fails_is_told_the_policy_and_the_run_goes_on(tmp_path):
    words = vocabulary.characters("".join(sorted(set("abc=;]error: RuntimeError: no such tool"))))
    given = {"tokenizer": words, "model": bigram.model(sharding.make_mesh(), 32)}
    rows = [{"prompt": f"{a}="} for a in "abc"]
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), words, encode.Limits(4, 6))
    given["data"] = iterate.Batches(encoded, prompts.Pad([4], words.pad_id), batch_size=2, seed=0)
    there = host.Host(broken, workers=0, timeout_s=1.0)
    given["turns"] = turn.Turns(there, 3, output_tokens=6)
    given["sampling"] = sample.Sampling(24, (*words.stop_ids, *words.encode("]")), pad_id=words.pad_id)
    start = given["model"].init(jax.random.key(0))
    online.run_online(parts(**given, reward=length), run.Plan(tmp_path, steps=2), start)
    line = metrics.read(tmp_path / "metrics.jsonl")[-1]
    assert line["errors"] == line["calls"] > 0
    assert "error:" in (tmp_path / "samples.jsonl").read_text()


def length(one):
    return float(one.completion_tokens)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"recipe": remax.ReMax()}, "ReMax wants .*greedy=1.* which dialogues have not"),
        (
            {"rewards": {"calls": (0.0, talking.Count("calls"))}},
            "'calls'.* name both a reward and what the environment",
        ),
        ({"players": player.Players({"ref": 1.0})}, "leave players out|players answer once"),
    ],
)
def test_refusals(changes, sentence):
    if "rewards" in changes:
        changes["rewards"] = pool.RewardPool(combine.WeightedRewards(changes["rewards"]), workers=0, timeout_s=1.0)
    with pytest.raises(ValueError, match=re.compile(sentence)):
        parts(**changes)


def test_several_processes_are_refused_at_once(monkeypatch):
    made = parts()
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="in one process, and these are 2"):
        dataclasses.replace(made)
