import jax.numpy as jnp
import pytest

from posttrain_jax import types
from posttrain_jax.rewards import report
from posttrain_jax.train import summary


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
    assert columns.tolist() == [3.0, 1.0]


def test_failures_are_named_by_kind():
    told = report.ScoreReport(
        4, timeouts=0, errors=2, crashes=1, invalid=0, first_error="a: Traceback\n  x\nKeyError: 1"
    )
    assert summary.failures(told) == {"failed/errors": 2.0, "failed/crashes": 1.0}
    assert summary.unscored(told) == "no completion was scored (KeyError: 1)."
    quiet = report.ScoreReport(4, timeouts=0, errors=0, crashes=0, invalid=0, first_error=None)
    assert summary.failures(quiet) == {}
    assert summary.unscored(quiet) == "no completion was scored (no reward applied)."
