"""What a step learns from: prompts -> rollout -> rewards."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Bool, Float, Key, PyTree

from posttrain_jax import arrangement, types
from posttrain_jax.data import iterate
from posttrain_jax.data import prompts as prompting
from posttrain_jax.models import actor_critic, platform, tokenizer
from posttrain_jax.rewards import pool, report
from posttrain_jax.rewards import sample as scoring
from posttrain_jax.rollout import selection
from posttrain_jax.train import (
    capacity,
    given,
    held,
    judging,
    metrics,
    numbering,
    player,
    process,
    referee,
    rows,
    speaker,
    summary,
    text,
)

JUDGE = "judge"
"""The column of the judge; `judge_steps` holds a reward model's rewards of steps."""
WINS = "wins"
"""The column of comparisons."""


class Rewards(NamedTuple):
    """Of a rollout, on the devices; NaN where there is none."""

    total: Float[Array, "P G"]
    columns: dict[str, Array]
    """Each reward by itself [P, G], their comparisons, whose each completion is, and the columns of the data."""


class Sampled(NamedTuple):
    """What one batch of prompts gave."""

    rollout: types.Rollout
    """On the devices."""
    here: types.Rollout
    """This process's rows in numpy."""
    scores: report.Scores
    """Of this process's rows."""
    beside: Mapping[str, np.ndarray]
    """Columns of the data, likewise."""
    read: judging.Read | None
    """What a reward model is given; None without one."""
    refereed: referee.Refereed | None
    """What the policy itself says, likewise; None where it is not asked."""
    shown: list[metrics.Shown]


class Experience(NamedTuple):
    """A rollout on the devices, its rewards, and what is told of them."""

    rollout: types.Rollout
    rewards: Rewards
    sampled: types.Rollout
    """As the policy of this step gave it last: the rollout itself, unless a selection chose its rows."""
    values: dict[str, float]
    """Global numbers."""
    report: report.ScoreReport
    """Of this process's scoring."""
    shown: list[metrics.Shown]
    """A few of this process's samples."""


class Collector:
    """Samples and scores; its two functions are compiled."""

    def __init__(
        self,
        model: actor_critic.Policy,
        sampler: speaker.Sampler,
        stop_ids: Sequence[int],
        *,
        words: tokenizer.Tokenizer,
        rewards: pool.RewardPool | None,
        data: iterate.Data,
        recipe: object,
        judge: judging.AnyJudge | None,
    ):
        """Args: who draws, the ids that end a completion, and what `online.Online` holds."""
        taken = {WINS: "comparisons", player.OPPONENT: "the opponent"} | ({JUDGE: "the judge"} if judge else {})
        for name in () if rewards is None else rewards.names:
            if name in taken:
                raise ValueError(f"a reward has the name {name!r}, which is that of {taken[name]}'s column: rename it.")
        self._judge, self._ask, self._referee = judge, None, None
        if isinstance(judge, judging.Judge):
            score = capacity.checked("the reward model", judging.make_score(judge))
            self._ask = functools.partial(score, judge.members)
        elif judge is not None:
            self._referee = referee.Asked(judge, model, words)
        self._model, self._words, self._rewards, self._data = model, words, rewards, data
        self._stop_ids, self._notices, self._recipe = stop_ids, summary.Notices(), recipe
        self._sampler, self._arranged = sampler, arrangement.of(recipe)
        whole = NamedSharding(model.mesh, Spec())
        self._summary = platform.jit(model.mesh, out_shardings=whole, level=0)(summary.of_rollout)

    def collect(self, params: Mapping[str, PyTree], key: Key[Array, ""], step: int, clock: metrics.Clock) -> Experience:
        """What the next prompts of the data give.

        Args:
            params: by role, as the sampler's `params` gives them.
            key: of the step.
            step: its number, which plays no part here.
            clock: counts the seconds of both phases.

        Raises:
            selection.ExhaustedError: no completion has a score.
        """
        found = self.sample(next(self._data), params, key, clock)
        return self.experience(found.rollout, found.scores, found.beside, found)

    def sample(
        self, prompts: prompting.PromptBatch, params: Mapping[str, PyTree], key: Key[Array, ""], clock: metrics.Clock
    ) -> Sampled:
        """Completions of the prompts, and their scores; `selection.ExhaustedError` in all where one cannot score."""
        with clock.phase("rollout"):
            numbering.check(held.within(self._recipe), prompts.group_ids)
            tokens, lengths, ids = map(self.put, (prompts.prompts, prompts.prompt_lengths, prompts.group_ids))
            answers = self.put(prompts.columns[prompting.GIVEN]) if self._arranged.given else None
            rollout = self._sampler(params, tokens, lengths, ids, key, answers, [row.example for row in prompts.rows])
            here = rows.to_host(rollout)
        with clock.phase("score"):
            with process.as_one(selection.ExhaustedError):
                samples = text.decode(prompts, here, self._words, self._stop_ids)
                scores = given.scored(self._scores(here, samples), here, self._arranged.rewarded)
            self._notices.failed(scores.report)
            read, asked, shape = None, self._judge, here.truncated.shape
            if isinstance(asked, judging.Judge):
                read = judging.to_read(asked, rollout, samples, shape, self.put)
        refereed = None
        if self._referee is not None:
            with clock.phase("referee"):
                refereed = self._referee(params[player.POLICY], samples, prompts.group_ids, key)
        return Sampled(rollout, here, scores, prompts.columns, read, refereed, text.shown(samples, scores))

    def experience(
        self, rollout: types.Rollout, scores: report.Scores, beside: Mapping[str, np.ndarray], last: Sampled
    ) -> Experience:
        """The rollout with its rewards on the devices, and global numbers of it.

        Args:
            rollout: on the devices.
            scores: of this process's rows of it.
            beside: the columns of the data, likewise.
            last: what the policy gave last.

        Raises:
            selection.ExhaustedError: no completion has a score.
        """
        rewards, values = self._told(rollout, scores, last)
        if values["unscored"] == 1:
            raise selection.ExhaustedError(summary.unscored(scores.report))
        rewards = rewards._replace(columns=self._beside(rewards.columns, beside))
        shown = last.shown if self._judge is None else text.judged(last.shown, rows.to_host(rewards.total))
        return Experience(rollout, rewards, last.rollout, values, scores.report, shown)

    def put(self, x: np.ndarray) -> Array:
        """This process's rows of an array on the devices."""
        return rows.to_devices(self._model.row_sharding, x)

    def _scores(self, here: types.Rollout, samples: list[list[scoring.Sample]]) -> report.Scores:
        """Of all completions, or without the given ones, where nobody is to be asked about these."""
        if self._rewards is None:
            count, size = here.truncated.shape
            return report.nothing((count, size))
        asked = here.truncated.shape[1] - (0 if self._arranged.rewarded else self._arranged.given)
        try:
            return self._rewards.score([row[:asked] for row in samples])
        except RuntimeError as error:  # no worker starts
            raise selection.ExhaustedError(str(error)) from error

    def _beside(self, rewards: dict[str, Array], columns: Mapping[str, np.ndarray]) -> dict[str, Array]:
        if both := set(rewards) & set(columns):
            raise ValueError(f"{sorted(both)} name both a reward and a column of the data: rename one.")
        return rewards | {name: self.put(x) for name, x in columns.items()}

    def _verdict(self, rollout: types.Rollout, last: Sampled) -> tuple[judging.Verdict, Bool[Array, "P G"]] | None:
        """What the judge says, and of which completions it was asked; None without one."""
        if last.refereed is not None:
            judged, asked = judging.Verdict(self.put(last.refereed.scores), None), last.refereed.asked
        elif self._ask is not None:
            judged, asked = self._ask(last.read), np.ones(last.here.truncated.shape, bool)
        else:
            return None
        if rollout.given is not None:
            judged = judging.only(~given.unrewarded(rollout, self._arranged.rewarded), judged)
        return judged, self.put(asked)

    def _told(self, rollout: types.Rollout, scores: report.Scores, last: Sampled) -> tuple[Rewards, dict[str, float]]:
        """The rewards on the devices, and their global numbers."""
        rewards, columns, names = self.put(scores.rewards), self.put(scores.columns), scores.names
        more = {} if scores.wins is None else {WINS: self.put(scores.wins)}
        verdict = self._verdict(rollout, last)
        if self._judge is not None and verdict is not None:
            judged, asked = verdict
            weight, failed = jnp.float32(self._judge.weight), self.put(scores.failed)
            rewards, columns = _join(rewards, columns, failed, judged.rewards, asked, weight)
            names = (*names, JUDGE)
            _add(more, judged)
        numbers, by_column = self._summary(rollout, rewards, columns)
        values = {name: float(x) for name, x in numbers.items()}
        self._notices.columns(names, by_column)
        named = zip(names, np.asarray(by_column.means), strict=True)
        values |= {f"reward/{name}": float(x) for name, x in named if len(names) > 1}
        by_name = {name: columns[..., index] for index, name in enumerate(names)}
        return Rewards(rewards, by_name | more | dict(self._sampler.column(rollout))), values


def _add(columns: dict[str, Array], judged: judging.Verdict) -> None:
    """What the judge says beside the reward."""
    if judged.wins is not None and WINS in columns:
        raise ValueError("a reward and the judge both compare completions two by two: leave one of them out.")
    told = {f"{JUDGE}_steps": judged.steps, WINS: judged.wins}
    if judged.each is not None:
        told |= {f"{JUDGE}/{index}": judged.each[..., index] for index in range(judged.each.shape[-1])}
    columns |= {name: x for name, x in told.items() if x is not None}


@jax.jit
def _join(
    rewards: Float[Array, "P G"],
    columns: Float[Array, "P G K"],
    failed: Bool[Array, "P G"],
    judged: Float[Array, "P G"],
    asked: Bool[Array, "P G"],
    weight: Float[Array, ""],
) -> tuple[Float[Array, "P G"], Float[Array, "P G _"]]:
    """The judge's as one more column, and in the sum where it was asked; alone where no reward of text applied."""
    others = jnp.where(jnp.isnan(rewards) & ~failed, 0, rewards)
    total = jnp.where(asked, others + weight * judged, rewards)
    return total, jnp.concatenate([columns, judged[..., None]], axis=-1)
