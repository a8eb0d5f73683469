"""Dialogues: tokens go in as they came out, only the policy's are counted, and budgets hold."""

import dataclasses
import functools
import itertools

import drifting
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import types
from posttrain_jax.environment import host, interruption
from posttrain_jax.losses import advantage, weight
from posttrain_jax.models import attention, sharding
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.rewards import sample as samples
from posttrain_jax.rollout import frame as frames
from posttrain_jax.rollout import generate, sample, turn
from tests.models import tiny

WORDS = drifting.words()
SAMPLING = sample.Sampling(24, (*WORDS.stop_ids, drifting.END, 40, 41, 42), temperature=0.8, pad_id=9)
TRUNCATED = dataclasses.replace(SAMPLING, top_k=24, top_p=0.95)
ECHO = drifting.Echo(2)
P, G, TURNS, OUTPUT = 4, 3, 4, 5
EIGHT = (2, 2, 2)


def prompts(rows=P):
    groups = tiny.groups(P=rows, S=5)
    return groups.prompts, groups.prompt_lengths, groups.group_ids + 100


@functools.lru_cache
def talked(
    environment=ECHO, *, mesh=(1, 1, 1), sampling=SAMPLING, limit=TURNS, output=OUTPUT, frame=None, interrupt=None
):
    """The model, its parameters, a rollout, and what stood there after each turn; made once."""
    model = tiny.model(sharding.make_mesh(**dict(zip(sharding.AXES, mesh, strict=True))), num_layers=1)
    params, seen = tiny.params(model), []

    def watched(_, stage):
        def run(*args):
            found = stage(*args)
            if hasattr(found, "written"):
                seen.append(jax.device_get((found.written.tokens, found.written.lengths, found.written.drawn)))
            return found

        return run

    with host.Host(environment, workers=0, timeout_s=1.0) as there:
        turns = turn.Turns(there, limit, output, frames.Frame() if frame is None else frame, interrupt)
        talk = turn.Conversation(model, sampling, G, turns, WORDS, checked=watched)
        arrays = jax.device_put(prompts(), model.row_sharding)
        rollout = talk(params, *arrays, jax.random.key(0), [{"row": row} for row in range(P)])
    return model, params, rollout, seen


def own(rollout, at, number=None):
    """The policy's tokens of a completion, or of one of its turns."""
    mask = np.asarray(rollout.groups.completion_mask[at])
    if number is not None:
        mask = mask & (np.asarray(rollout.segments.ids[at]) == number)
    return np.asarray(rollout.groups.completions[at])[mask].tolist()


def asked(rollout, at):
    """How many turns of a completion the policy ended: those that the environment sees."""
    return int(rollout.counts["turns"][at]) - (own(rollout, at)[-1] not in SAMPLING.stop_ids)


def places():
    return [(p, g) for p in range(P) for g in range(G)]


# Token in, token out


def test_what_is_trained_on_is_what_was_drawn_though_encoding_the_text_gives_other_tokens():
    model, params, rollout, _ = talked()
    drifted = [at for at in places() if WORDS.encode(WORDS.decode(own(rollout, at))) != own(rollout, at)]
    assert drifted
    single = generate.make_generate(model, SAMPLING, G)(params, *prompts(), jax.random.key(0))
    for at in places():
        length = int(single.groups.completion_lengths[at])
        assert own(rollout, at, 0) == np.asarray(single.groups.completions[at])[:length].tolist()


def test_a_text_that_drifts_by_hand():
    ids = [WORDS.encode(letter)[0] for letter in "aab"]
    assert WORDS.decode(ids) == "aab"
    assert WORDS.encode("aab") != ids


@pytest.mark.parametrize(
    ("mesh", "sampling"), [((1, 1, 1), SAMPLING), (EIGHT, TRUNCATED)], ids=["one device", "eight devices, truncated"]
)
def test_sampler_and_trainer_agree_on_the_tokens_of_every_turn(mesh, sampling):
    model, params, rollout, _ = talked(mesh=mesh, sampling=sampling)
    score = jax.jit(lambda p, r: model.token_stats(p, r.groups, temperature=0.8, kept_ids=r.kept_ids))
    trainer, mask = score(params, rollout), np.asarray(rollout.groups.completion_mask)
    later = mask & (np.asarray(rollout.segments.ids) > 0)
    assert later.sum() > 20
    np.testing.assert_allclose(trainer.logps, rollout.sampler.logps, atol=2e-5)
    np.testing.assert_allclose(trainer.entropy, rollout.sampler.entropy, atol=2e-5)
    assert (np.asarray(rollout.sampler.logps)[~mask] == 0).all()
    if sampling.top_k is not None:
        kept = np.asarray(rollout.kept_ids)
        assert (kept == np.asarray(rollout.groups.completions)[..., None]).any(-1)[mask].all()
        assert (kept[~mask] == -1).all()


def test_every_turn_goes_on_behind_what_stood_there():
    """The prefix property, over all turns; nothing that was written is touched again."""
    _, _, rollout, seen = talked()
    assert len(seen) >= 4  # the prompt, and three turns
    for before, after in itertools.pairwise(seen):
        for at in places():
            end = before[1][at]
            assert after[1][at] >= end
            for old, new in ((before[0], after[0]), (before[2], after[2])):
                np.testing.assert_array_equal(new[at][:end], old[at][:end])
    np.testing.assert_array_equal(seen[-1][0], rollout.groups.completions)


def test_the_mask_counts_what_was_drawn_and_nothing_else():
    _, _, rollout, seen = talked()
    said = WORDS.encode("12;")
    for at in places():
        replies = max(0, int(rollout.segments.ids[at].max()))
        assert len(own(rollout, at)) == int(rollout.groups.completion_lengths[at]) - replies * len(said)
    assert int(rollout.groups.completion_mask.sum()) == int(seen[-1][2].sum())
    tokens, lengths = np.asarray(rollout.groups.completions), np.asarray(rollout.groups.completion_lengths)
    assert (tokens[np.arange(24) >= lengths[..., None]] == SAMPLING.pad_id).all()


def test_output_stands_between_turns_and_belongs_to_the_turn_that_it_answers():
    _, _, rollout, _ = talked()
    mask, ids, tokens = (
        np.asarray(x) for x in (rollout.groups.completion_mask, rollout.segments.ids, rollout.groups.completions)
    )
    said, checked = WORDS.encode("12;"), 0
    for at in places():
        length = int(rollout.groups.completion_lengths[at])
        assert (ids[at][:length] >= 0).all()
        assert (ids[at][length:] == -1).all()
        assert (np.diff(ids[at][:length]) >= 0).all()
        for number in range(ids[at].max()):
            output = ~mask[at] & (ids[at] == number)
            assert tokens[at][output].tolist() == said
            last = np.flatnonzero(output)[-1]
            # the last token of the output is not learned, the first behind it is
            assert mask[at][last + 1]
            assert ids[at][last + 1] == number + 1
            assert tokens[at][np.flatnonzero(output)[0] - 1] in SAMPLING.stop_ids
            checked += 1
    assert checked > 10


def test_counts_rewards_and_states_of_turns():
    _, _, rollout, _ = talked()
    turns, ended = np.asarray(rollout.counts["turns"]), ~np.asarray(rollout.truncated)
    assert (turns[ended] == 3).all()
    assert ended.any()
    assert not ended.all()  # some run out of tokens
    rewards, states = np.asarray(rollout.segments.rewards), np.asarray(rollout.segments.states)
    for at in places():
        count, replies = int(turns[at]), asked(rollout, at)
        assert float(rollout.counts["calls"][at]) == min(replies, 2)
        assert float(rollout.counts["errors"][at]) == (replies >= 2)
        expected = [1.0, 2.0, 10.0][:replies]
        np.testing.assert_array_equal(rewards[at], np.asarray(expected + [np.nan] * (TURNS - replies), np.float32))
        assert states[at][0] == 0
        assert (states[at][:count] >= 0).all()
        assert (states[at][count:] == -1).all()
    # equal words are equal states, and other words others
    assert len(np.unique(states[turns > 1][:, 1])) == 1
    assert len(np.unique(states[turns > 2][0, :3])) == 3


def test_texts_of_turns():
    _, _, rollout, _ = talked()
    groups, ids = jax.device_get((rollout.groups, rollout.segments.ids))
    for at in places():
        told = turn.texts(WORDS, groups.completions[at], groups.completion_mask[at], ids[at])
        assert len(told) == rollout.counts["turns"][at]
        assert [one.reply for one in told[:-1]] == ["12;"] * (len(told) - 1)
        for number, one in enumerate(told):
            spoken = own(rollout, at, number)
            kept = spoken[:-1] if spoken[-1] in WORDS.stop_ids else spoken
            assert one.text == WORDS.decode(kept, keep_special=True)


def test_the_environment_reads_what_was_said_and_what_the_policy_read():
    seen = []
    _, _, rollout, _ = talked(drifting.Echo(2, heard=seen.append))
    assert {one.example["row"] for one in seen} == set(range(P))
    longest = max(seen, key=lambda one: len(one.turns))
    assert [one.reply for one in longest.turns] == ["12;", "12;", ""]
    assert isinstance(longest.turns[0], samples.Turn)
    assert len(seen) == sum(asked(rollout, at) for at in places())


# Masks


def test_tool_output_changes_the_loss_as_context_alone():
    """No gradient to its log-probabilities, and other ids in its place as targets change nothing."""
    model, params, rollout, _ = talked()
    mask = rollout.groups.completion_mask
    rewards = jnp.asarray(np.random.default_rng(0).normal(size=(P, G)), jnp.float32)
    recipe = grpo.GRPO(kl_coef=0.0)
    batch = dataclasses.replace(recipe.credit(rollout, rewards), old_logps=jnp.where(mask, -3.0, 0.0))

    def loss(stats):
        return recipe.loss(stats, batch)[0]

    score = jax.jit(lambda groups: model.token_stats(params, groups, temperature=0.8))
    stats = score(rollout.groups)
    gradient = np.asarray(jax.grad(lambda x: loss(dataclasses.replace(stats, logps=x)))(stats.logps))
    assert (gradient[~np.asarray(mask)] == 0).all()
    assert (gradient[np.asarray(mask)] != 0).any()

    other = dataclasses.replace(rollout.groups, completions=jnp.where(mask, rollout.groups.completions, 33))
    logits = jax.jit(model.logits)(params, rollout.groups)
    as_targets = [jax.jit(lambda x: model.stats_of(logits, x, temperature=0.8))(x) for x in (other, rollout.groups)]
    assert float(loss(as_targets[0])) == float(loss(as_targets[1]))
    assert abs(float(loss(score(other)) - loss(stats))) > 1e-4


def test_the_last_turn_alone_behind_all_that_was_said_before_has_the_same_loss():
    """Completions of one turn, whose prompt holds the rest, weigh and lose what that turn does in the dialogue."""
    model, params, rollout, _ = talked()
    groups, ids = jax.device_get((rollout.groups, rollout.segments.ids))
    last = (ids == ids.max(-1, keepdims=True)) & groups.completion_mask
    score = jax.jit(functools.partial(model.token_stats, params))
    whole = score(dataclasses.replace(rollout.groups, completion_mask=jnp.asarray(last)))
    histories, answers = [], []
    for at in places():
        start = int(np.flatnonzero(last[at])[0])
        history = groups.prompts[at[0]][: groups.prompt_lengths[at[0]]]
        histories.append([*history, *groups.completions[at][:start]])
        answers.append(groups.completions[at][last[at]])
    width = max(map(len, histories))
    alone = types.Groups(
        prompts=jnp.asarray([[*one, *[0] * (width - len(one))] for one in histories], jnp.int32),
        prompt_lengths=jnp.asarray([len(one) for one in histories], jnp.int32),
        completions=jnp.asarray([[[*one, *[0] * (24 - len(one))]] for one in answers], jnp.int32),
        completion_lengths=jnp.asarray([[len(one)] for one in answers], jnp.int32),
        completion_mask=jnp.asarray([[np.arange(24) < len(one)] for one in answers]),
        group_ids=jnp.arange(P * G, dtype=jnp.int32) // G,
    )
    single = score(alone)
    recipe, rewards = grpo.GRPO(kl_coef=0.0), np.random.default_rng(0).normal(size=(P, G)).astype(np.float32)
    values = advantage.group_zscore(jnp.asarray(rewards), jnp.arange(P))
    losses = []
    for stats, mask, advantages in (
        (whole, jnp.asarray(last), values),
        (single, alone.completion_mask, values.reshape(-1, 1)),
    ):
        batch = types.PolicyBatch(mask, advantage.per_token(advantages, mask), weight.sequence_mean(mask))
        weighted = dataclasses.replace(batch, old_logps=jnp.where(mask, -3.0, 0.0))
        losses.append(float(recipe.loss(stats, weighted)[0]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    np.testing.assert_allclose(single.logps.sum(), whole.logps.sum(), rtol=1e-5)


# Budgets


def test_what_does_not_fit_is_left_out_as_a_whole():
    _, _, rollout, _ = talked()
    said = len(WORDS.encode("12;"))
    cut = [at for at in places() if rollout.truncated[at]]
    assert cut
    for at in cut:
        length = int(rollout.groups.completion_lengths[at])
        assert bool(rollout.groups.completion_mask[at][length - 1])  # never in the midst of output
        full = length == SAMPLING.max_new_tokens
        assert full or length + said >= SAMPLING.max_new_tokens


def test_no_more_turns_than_allowed():
    _, _, rollout, _ = talked(drifting.Echo(9, text="1"), limit=2)
    turns, truncated = np.asarray(rollout.counts["turns"]), np.asarray(rollout.truncated)
    assert turns.max() == 2
    assert truncated.all()
    assert rollout.segments.rewards.shape[-1] == 2
    for at in places():
        assert bool(rollout.groups.completion_mask[at][int(rollout.groups.completion_lengths[at]) - 1])


def test_long_output_is_cut_and_its_frame_is_not():
    frame = frames.Frame("3", ";x")
    _, _, rollout, _ = talked(drifting.Echo(1, text="2" * 50), frame=frame)
    groups, ids = jax.device_get((rollout.groups, rollout.segments.ids))
    heard = [turn.texts(WORDS, groups.completions[at], groups.completion_mask[at], ids[at])[0].reply for at in places()]
    assert set(heard) <= {"322;x", ""}
    assert "322;x" in heard


def test_special_tokens_of_the_frame_are_read_and_those_of_output_are_not():
    _, _, rollout, _ = talked(drifting.Echo(1, text="1"), frame=frames.Frame("<eos>", "x"))
    groups, ids = jax.device_get((rollout.groups, rollout.segments.ids))
    output = [groups.completions[at][~groups.completion_mask[at] & (ids[at] == 0)].tolist() for at in places()]
    assert [WORDS.eos_id, *WORDS.encode("1x")] in output


def test_silence_goes_on_from_where_the_policy_stood():
    """A reply of no tokens: the sequence is the policy's alone."""
    model, params, rollout, _ = talked(drifting.Echo(2, text=""))
    lengths = np.asarray(rollout.groups.completion_lengths)
    assert (np.asarray(rollout.groups.completion_mask).sum(-1) == lengths).all()
    trainer = jax.jit(functools.partial(model.token_stats, params, temperature=0.8))(rollout.groups)
    np.testing.assert_allclose(trainer.logps, rollout.sampler.logps, atol=2e-5)


def test_an_environment_that_says_nothing_leaves_completions_in_one_piece():
    model, params, rollout, _ = talked(drifting.Echo(0))
    single = generate.make_generate(model, SAMPLING, G)(params, *prompts(), jax.random.key(0))
    for ours, expected in (
        (rollout.groups, single.groups),
        (rollout.truncated, single.truncated),
    ):
        jax.tree.map(np.testing.assert_array_equal, ours, expected)
    np.testing.assert_allclose(rollout.sampler.logps, single.sampler.logps, atol=2e-5)


def test_the_shortest_budgets():
    one = dataclasses.replace(SAMPLING, max_new_tokens=1)
    _, _, rollout, _ = talked(sampling=one, limit=1, output=3)
    assert (np.asarray(rollout.groups.completion_lengths) == 1).all()
    assert rollout.truncated.all()


def test_a_turn_that_is_too_long_is_interrupted_and_the_answer_follows():
    """A thought of three tokens at most, then a phrase that ends it, then the answer with what room is left."""
    model, params, rollout, _ = talked(interruption.Interruption("x3", thought_end="3"), limit=2, interrupt=3)
    free = talked(drifting.Echo(0))[2]
    groups, ids = jax.device_get((rollout.groups, rollout.segments.ids))
    forced = 0
    for at in places():
        first, answer = own(rollout, at, 0), own(rollout, at, 1)
        assert 1 <= len(first) <= 3
        np.testing.assert_array_equal(first, np.asarray(free.groups.completions[at])[: len(first)])
        said = groups.completions[at][~groups.completion_mask[at] & (ids[at] == 0)].tolist()
        # none of these tokens holds the end of a thought
        assert said == WORDS.encode("x3")
        # the answer is interrupted too, and the environment has nothing to say to it
        assert 1 <= len(answer) <= 3
        assert bool(rollout.truncated[at]) == (answer[-1] not in SAMPLING.stop_ids)
        forced += first[-1] not in SAMPLING.stop_ids
    assert forced > 3
    trainer = jax.jit(functools.partial(model.token_stats, params, temperature=0.8))(rollout.groups)
    np.testing.assert_allclose(trainer.logps, rollout.sampler.logps, atol=2e-5)


# Reproducibility


def talk(model, environment, **changes):
    there = host.Host(environment, workers=0, timeout_s=1.0)
    return turn.Conversation(model, SAMPLING, changes.pop("group", G), turn.Turns(there, TURNS, OUTPUT), WORDS)


@pytest.mark.slow
def test_the_same_on_eight_devices():
    ours, expected = (jax.device_get(talked(mesh=mesh)[2]) for mesh in (EIGHT, (1, 1, 1)))
    for name in ("completions", "completion_lengths", "completion_mask"):
        np.testing.assert_array_equal(vars(ours.groups)[name], vars(expected.groups)[name])
    jax.tree.map(np.testing.assert_array_equal, ours.segments, expected.segments)
    np.testing.assert_allclose(ours.sampler.logps, expected.sampler.logps, atol=1e-4)


def test_alone_and_among_others_and_nothing_compiles_again():
    """A completion does not depend on when the others end their turns; rows without an example stay empty."""
    traces = []

    def counted(*arrays, window):
        traces.append(arrays[0].shape)
        return attention.einsum(*arrays, window)

    model, params, whole, _ = talked()
    model = dataclasses.replace(model, attend=counted)
    again = talk(model, drifting.Echo(2))
    again(params, *prompts(), jax.random.key(1), [{}] * P)
    count = len(traces)
    same = again(params, *prompts(), jax.random.key(0), [{"row": row} for row in range(P)])
    np.testing.assert_array_equal(same.groups.completions, whole.groups.completions)
    fewer = again(params, *prompts(), jax.random.key(0), [{}])
    np.testing.assert_array_equal(fewer.groups.completions[0], whole.groups.completions[0])
    assert (np.asarray(fewer.groups.completion_lengths)[1:] == 0).all()
    assert not fewer.truncated[1:].any()
    assert not fewer.groups.completion_mask[1:].any()
    assert len(traces) == count


# Refusals


def test_refusals(monkeypatch):
    model = tiny.model(num_layers=1)
    there = host.Host(drifting.Echo(1), workers=0, timeout_s=1.0)

    def build(sampling=SAMPLING, group=G, **changes):
        given = {"limit": 2, "output_tokens": 3} | changes
        return turn.Conversation(model, sampling, group, turn.Turns(there, **given), WORDS)

    with pytest.raises(ValueError, match="limit=0 turns"):
        build(limit=0)
    with pytest.raises(ValueError, match="turn_tokens=0"):
        build(turn_tokens=0)
    with pytest.raises(ValueError, match="output_tokens=0"):
        build(output_tokens=0)
    with pytest.raises(ValueError, match="no more than the frame"):
        build(frame=frames.Frame("333"))
    with pytest.raises(ValueError, match="group_size is 0"):
        build(group=0)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        build(dataclasses.replace(SAMPLING, stop_ids=(64,)))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="in one process, and these are 2"):
        build()
