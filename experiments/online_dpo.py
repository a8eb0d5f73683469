"""Preferences among the policy's own completions: drawn, judged by a reward model, compared, learned from.

    python experiments/online_dpo.py --model runs/tiny-hh --judge runs/reward/model \
        --data data/hh_harmless/test.jsonl.gz --folder runs/online --steps 60 --max-prompt 128 --max-completion 48 \
        --learning-rate 3e-4 --max-bad-fraction 0.01 read:dialogue-preference-fields

With the models of `make_model.py` and `reward_model.py` (100 steps), four minutes on busy CPU cores: the reward of own
completions rises from -0.259 to -0.239 (means of the first 10 and last 20 steps of one run; completions of a prompt
deviate by 0.09), and the better of a pair has become the likelier one in 54 % of the last pairs.

Another recipe is one import and the field `recipe`: `OnlinePreference(IPO())`, `OnlinePreference(SPPO(), AllPairs())`,
`OnlinePreference(PlackettLuceDPO(), ranked)`, `TRPA()`. With `--given chosen` the data's answer joins each group, which
`GRAO` learns from; with `--given chosen rejected` and without a judge it is `OnlineKLDPO` (HyPO).
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

import rich
import tyro

from posttrain_jax import OnlinePreference
from posttrain_jax.data import encode, fields, iterate, prompts, reading, source
from posttrain_jax.losses import ensemble
from posttrain_jax.models import pretrained
from posttrain_jax.rollout import sample
from posttrain_jax.train import command, display, judging, online, optimizer, plot, reference, rereading, run

FLAT = tyro.conf.arg(name="")


@dataclasses.dataclass(frozen=True)
class Config:
    """Who learns from whom, on what, and how long."""

    start: Annotated[pretrained.Checkpoint, FLAT]
    source: Annotated[source.Source, FLAT]
    plan: Annotated[run.Plan, FLAT]
    max_prompt: int
    """Longest prompt in tokens; longer ones keep their end."""
    max_completion: int
    """Length limit of a completion, in tokens."""
    learning_rate: float
    """Reached after 10 updates, then constant."""
    judge: str | None = None
    """Folder of a reward model (`reward_model.py`); None where nobody rewards."""
    recipe: OnlinePreference = OnlinePreference()
    """Any recipe that learns from own completions."""
    read: fields.PromptFields | reading.PairFields = fields.PromptFields()
    """Where a row's prompt is, and the answers that are given."""
    given: tuple[Literal["chosen", "rejected"], ...] = ()
    """Which answers of a pair join each group."""
    fixed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Roles and folders of other models that the recipe asks: dpo for RTO."""
    prompts_per_step: int = 16
    """Prompts of a rollout, over all devices."""
    group_size: int = 4
    """Completions of a prompt, those given among them."""
    max_bad_fraction: float = 0.0
    """Share of the rows that may be unfit and is left out, counted; 0 stops at the first."""


def main(c: Config) -> None:
    """Train, draw the curves, export."""
    start, limits = c.start.load(), encode.Limits(c.max_prompt, c.max_completion)
    told, words = prompts.telling(c.read, c.given), start.tokenizer
    prompt_of = lambda row: told(row)[0]  # noqa: E731
    rows, report = prompts.encode(c.source.read(), prompt_of, words, limits, max_bad_fraction=c.max_bad_fraction)
    rich.print(report)
    rows = prompts.give_texts(rows, told, words, width=c.max_completion)
    pad = prompts.Pad([c.max_prompt], words.pad_id)
    data = iterate.Batches(rows, pad, batch_size=c.prompts_per_step, seed=c.plan.seed)
    judge = c.judge and judging.load(c.judge, start, ensemble.mean, rereading.Reading(prompt_of, limits))
    sampling, fixed = sample.Sampling(c.max_completion, words.stop_ids), reference.load(c.start, c.fixed)
    adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(c.learning_rate, warmup_steps=10)))
    more = {"judge": judge or None, "fixed": fixed, "refuse_equal_rewards": bool(judge or not c.given)}
    parts = online.Online(start.model, c.recipe, adamw, words, data, None, sampling, c.group_size, **more)
    state = online.run_online(parts, c.plan, start.params, loggers=[display.Display(c.plan.steps)])
    start.save(c.plan.folder / "model", state.params)
    rich.print(f"Curves: {plot.plot_run(c.plan.folder)}  Model: {c.plan.folder / 'model'}")


if __name__ == "__main__":
    command.run(main, Config)
