"""Preferences on your own model and data, with DPO or any recipe of given completions; the reference is the start.

    python experiments/dpo.py --model runs/tiny-hh --data data/hh_harmless/test.jsonl.gz --folder runs/dpo \
        --steps 200 --max-prompt 128 --max-completion 96 --learning-rate 3e-4 --max-bad-fraction 0.01 \
        read:dialogue-preference-fields

With the model of `make_model.py` on 2,303 HH pairs, four minutes on two busy CPU cores: the loss leaves ln 2 for 0.66
at the end of the first pass and 0.53 in the second (means of 20 steps, within 0.05), where it learns pairs by heart.

Another recipe is one import and the field `recipe`; its data are `read:labelled` (KTO), `read:ranked`, `read:listed`,
and so on: docs/preference_methods.md says which. Models that it asks are `--fixed guide FOLDER` (TGDPO, AlignDistil),
a reference that follows the policy `moving:moving --moving.share 0.6 --moving.every 512` (TR-DPO).
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import rich
import tyro

from posttrain_jax import DPO
from posttrain_jax.data import batch, encode, fields, iterate, reading, source
from posttrain_jax.models import pretrained, token_mask
from posttrain_jax.train import command, display, offline, optimizer, plot, reference, run

FLAT = tyro.conf.arg(name="")


@dataclasses.dataclass(frozen=True)
class Config:
    """What is trained, on what, and how long."""

    start: Annotated[pretrained.Checkpoint, FLAT]
    source: Annotated[source.Source, FLAT]
    plan: Annotated[run.Plan, FLAT]
    max_prompt: int
    """Longest prompt in tokens; longer ones keep their end."""
    max_completion: int
    """Longest completion in tokens; longer ones keep their beginning."""
    learning_rate: float
    """Peak; reached after `warmup_steps`, then half a cosine down to a tenth."""
    recipe: DPO = DPO()
    """Any recipe of given completions fits (`recipes/preference`, `likelihood`, `distillation/align_distil.py`)."""
    read: reading.PairFields | reading.Kind = fields.PreferenceFields()
    """Where a row's prompt and completions are, and of which kind the rows are."""
    masks: int = 0
    """Masks of tokens that are learned beside the policy: 1 or 2 for SparsePO, 0 for all others."""
    moving: reference.Moving | None = None
    """How the reference follows the policy; None where it stands still."""
    fixed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Roles and folders of other models that the recipe asks."""
    warmup_steps: int = 10
    """Updates of rising learning rate."""
    batch_size: int = 16
    """Rows of an update, over all devices."""
    max_bad_fraction: float = 0.0
    """Share of the rows that may be unfit and is left out, counted; 0 stops at the first."""


def main(c: Config) -> None:
    """Train, draw the curves, export."""
    adamw = optimizer.AdamW(optimizer.Cosine(c.learning_rate, c.plan.steps, c.warmup_steps))
    start, limits = c.start.load(), encode.Limits(c.max_prompt, c.max_completion)
    read = c.read if isinstance(c.read, reading.Reading) else reading.Pairs(c.read)
    rows, report = reading.encode(read, c.source.read(), start.tokenizer, limits, max_bad_fraction=c.max_bad_fraction)
    rich.print(report)
    pad = batch.Pad([batch.Bucket(c.max_prompt, c.max_completion)], start.tokenizer.pad_id, read.group_size)
    data = iterate.Batches(rows, pad, batch_size=c.batch_size, seed=c.plan.seed)
    model, params = token_mask.beside(start.model, start.params, c.masks)
    more = {"moving": c.moving, "fixed": reference.load(c.start, c.fixed), "tokenizer": start.tokenizer}
    parts = offline.Offline(model, c.recipe, optimizer.make_optimizer(adamw), data, **more)
    state = offline.run_offline(parts, c.plan, params, loggers=[display.Display(c.plan.steps)])
    start.save(c.plan.folder / "model", token_mask.without(state.params))
    rich.print(f"Curves: {plot.plot_run(c.plan.folder)}  Model: {c.plan.folder / 'model'}")


if __name__ == "__main__":
    command.run(main, Config)
