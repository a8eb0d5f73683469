import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import types
from posttrain_jax.rewards import report
from posttrain_jax.train import summary


def rollout_of(shape):
    ones = jnp.ones(shape, jnp.int32)
    tokens = ones[..., None]
    groups = types.Groups(ones[:, :1], ones[:, 0], tokens, ones, tokens > 0, jnp.arange(shape[0]))
    stats = types.TokenStats(jnp.zeros(tokens.shape), jnp.zeros(tokens.shape))
    return types.Rollout(groups, stats, truncated=ones > 1)


def test_a_rollout_by_hand():
    mask = jnp.ones((2, 2, 4), bool)
    groups = types.Groups(
        prompts=jnp.zeros((2, 3), jnp.int32),
        prompt_lengths=jnp.ones(2, jnp.int32),
        completions=jnp.zeros((2, 2, 4), jnp.int32),
        completion_lengths=jnp.asarray([[1, 2], [3, 4]]),
        completion_mask=mask,
        group_ids=jnp.arange(2),
    )
    zeros = jnp.zeros((2, 2, 4))
    rollout = types.Rollout(groups, types.TokenStats(zeros, zeros), truncated=jnp.asarray([[0, 0], [0, 1]], bool))
    rewards = jnp.asarray([[1.0, 3.0], [5.0, jnp.nan]])
    numbers, columns = summary.of_rollout(rollout, rewards, jnp.stack([rewards, jnp.ones((2, 2))], axis=-1))
    expected = {
        "reward": 3.0,
        "reward_std": (8 / 3) ** 0.5,
        "unscored": 0.25,
        "equal_groups": 0.5,  # a single scored completion has nothing to be compared with
        "truncated": 0.25,
        "completion_length": 2.5,
    }
    assert {name: float(x) for name, x in numbers.items()} == pytest.approx(expected)
    assert columns.means.tolist() == [3.0, 1.0]
    assert columns.constant.tolist() == [False, True]

    beside = dataclasses.replace(rollout, greedy=jnp.asarray([[False, True], [False, False]]))
    numbers, columns = summary.of_rollout(beside, rewards, rewards[..., None])
    assert float(numbers["reward"]) == 3.0  # of 1 and 5
    assert columns.means.tolist() == [3.0]
    assert columns.constant.tolist() == [False]  # it is told apart from the greedy one
    assert float(numbers["reward_std"]) == 2.0

    beside = dataclasses.replace(rollout, given=jnp.asarray([[False, True], [False, True]]))
    numbers, columns = summary.of_rollout(beside, rewards, rewards[..., None])
    expected = {
        "reward": 3.0,
        "reward_std": 2.0,
        "reward_given": 3.0,
        "unscored": 0.0,
        "equal_groups": 0.5,
        "truncated": 0.0,
        "completion_length": 2.0,
    }
    assert {name: float(x) for name, x in numbers.items()} == pytest.approx(expected)
    assert columns.means.tolist() == [3.0]


@pytest.mark.parametrize(
    ("column", "same"),
    [
        ([[1, 1], [2, 2]], True),  # different from prompt to prompt alone
        ([[0, 0], [0, 0]], True),
        ([[1, 1], [2, 3]], False),
        ([[1, math.nan], [2, 2]], True),
        ([[1, math.nan], [2, math.nan]], False),  # nothing was compared
        ([[math.nan] * 2] * 2, False),
        ([[1], [2]], False),
    ],
)
def test_a_reward_is_constant_where_no_group_tells_completions_apart(column, same):
    rewards = jnp.asarray(column, jnp.float32)
    found = summary.of_rollout(rollout_of(rewards.shape), rewards, rewards[..., None])[1]
    assert found.constant.tolist() == [same]
    assert found.silent.tolist() == [np.isnan(column).all()]


def test_a_notice_is_given_once(capsys):
    notices = summary.Notices()
    names = ("form", "answer", "length")
    found = lambda *flags: summary.OfColumns(jnp.zeros(3), np.asarray(flags), np.zeros(3, bool))  # noqa: E731
    notices.columns(names, found(True, False, True))
    said = capsys.readouterr().err
    assert said.startswith("reward 'form', 'length' gave all completions of a prompt the same score")
    notices.columns(names, found(True, False, True))
    assert capsys.readouterr().err == ""
    notices.columns(names, found(True, True, False))
    assert capsys.readouterr().err.startswith("reward 'answer' gave")
    notices.columns(names, found(True, True, False)._replace(silent=np.asarray([False, True, False])))
    assert capsys.readouterr().err.startswith("reward 'answer' applied to no completion of this step")
    quiet = report.ScoreReport(4, timeouts=0, errors=0, crashes=0, invalid=0, first_error=None)
    broken = report.ScoreReport(4, timeouts=1, errors=0, crashes=0, invalid=0, first_error="took longer")
    for told, start in (
        (quiet, ""),
        (broken, "1 of 4 completions have no reward (the first: took longer)"),
        (broken, ""),
    ):
        notices.failed(told)
        said = capsys.readouterr().err
        assert said.startswith(start)
        assert bool(said) == bool(start)


def test_failures_are_named_by_kind():
    told = report.ScoreReport(
        4, timeouts=0, errors=2, crashes=1, invalid=0, first_error="a: Traceback\n  x\nKeyError: 1"
    )
    assert summary.failures(told) == {"failed/errors": 2.0, "failed/crashes": 1.0}
    assert summary.unscored(told) == "no completion was scored (KeyError: 1)."
    quiet = report.ScoreReport(4, timeouts=0, errors=0, crashes=0, invalid=0, first_error=None)
    assert summary.failures(quiet) == {}
    assert summary.unscored(quiet) == "no completion was scored (no reward applied)."
