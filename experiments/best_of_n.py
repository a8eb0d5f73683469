"""The best of n samples by a reward model: what it earns, and how far it is from the policy that drew the samples.

    python experiments/best_of_n.py --model runs/tiny-hh --judge runs/reward/model \
        --data data/hh_harmless/test.jsonl.gz --folder runs/best --max-prompt 128 --max-completion 96 \
        read:dialogue-preference-fields

What the best of n earns is estimated without bias from all samples of each prompt; its divergence from the policy is at
most log n - (n - 1) / n nats. Beside it stands that of responses that can be listed (`enumerable.py`): exact, and
counted in 4,000 picks. The folder gets the table and `best.jsonl`, the best sample of each prompt.

With the models of `make_model.py` and `reward_model.py` (200 steps) on 32 HH prompts, 48 seconds on busy CPU cores:
reward -0.482 of a single sample, -0.309 of the best of 4 and -0.088 of the best of 16 (the same seed: within rounding).
Listed responses: 0.590 and 1.554 nats of at most 0.636 and 1.835, counted 0.591 and 1.555.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import listed_best
import tyro

from posttrain_jax.data import encode, fields, iterate, prompts, source
from posttrain_jax.losses import best_of_n, ensemble, tilting
from posttrain_jax.models import pretrained
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import checks, command, judging, rereading, rows, text

FLAT = tyro.conf.arg(name="")


@dataclasses.dataclass(frozen=True)
class Config:
    """Who writes, who judges, and how much."""

    start: Annotated[pretrained.Checkpoint, FLAT]
    source: Annotated[source.Source, FLAT]
    judge: str
    folder: pathlib.Path
    max_prompt: int
    max_completion: int
    read: fields.PromptFields | fields.DialoguePreferenceFields = fields.PromptFields()
    prompts: int = 32
    samples: int = 16


def main(c: Config) -> None:
    """Sample, judge, pick, tell."""
    checks.writable(c.folder)
    start = c.start.load()
    checks.positions(c.max_prompt, c.max_completion, start.model.config.max_position)

    def read(row: Mapping[str, Any]) -> fields.Prompt:
        told = c.read(row)
        return told.prompt if isinstance(told, fields.Preference) else told

    asked, limits = c.source.read(), encode.Limits(c.max_prompt, c.max_completion)
    judge = judging.load(c.judge, start, ensemble.mean, rereading.Reading(read, limits))
    if not 0 < c.prompts <= len(asked):
        raise ValueError(f"prompts={c.prompts} must be at least 1 and at most the {len(asked)} rows of the data.")
    encoded, _ = prompts.encode([asked[i] for i in range(c.prompts)], read, start.tokenizer, limits)
    batch = next(iterate.Batches(encoded, prompts.Pad([c.max_prompt], 0), batch_size=c.prompts, seed=0))
    put = lambda x: rows.to_devices(start.model.row_sharding, x)  # noqa: E731
    draw = generate.make_generate(start.model, sample.Sampling(c.max_completion, start.tokenizer.stop_ids), c.samples)
    tokens, lengths, ids = (put(x) for x in (batch.prompts, batch.prompt_lengths, batch.group_ids))
    rollout = draw(start.params, tokens, lengths, ids, jax.random.key(0))
    texts = text.decode(batch, rows.to_host(rollout), start.tokenizer, start.tokenizer.stop_ids)
    to_read = judging.to_read(judge, rollout, texts, (c.prompts, c.samples), put)
    rewards = judging.make_score(judge)(judge.members, to_read).rewards
    lines = ["| n | reward of the best | divergence at most | listed: exact | counted |", "|---" * 5 + "|"]
    for n in (2**k for k in range(c.samples.bit_length())):
        earned = float(jnp.mean(best_of_n.expected(rewards, rewards, n)))
        listed, counted = listed_best.divergences(n)
        lines.append(f"| {n} | {earned:.3f} | {tilting.best_of_n_bound(n):.3f} | {listed:.3f} | {counted:.3f} |")
    (c.folder / "best_of_n.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    picked = [group[i] for group, i in zip(texts, best_of_n.best(rewards).tolist(), strict=True)]
    told = "".join(json.dumps({"prompt": one.prompt, "completion": one.completion}) + "\n" for one in picked)
    (c.folder / "best.jsonl").write_text(told, encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    command.alone(main, Config)
