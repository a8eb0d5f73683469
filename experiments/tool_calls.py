"""Look up, calculate, answer: a small policy learns when to call which tool, and with OTC how seldom.

python experiments/tool_calls.py --folder runs/tools
"""

import dataclasses
import random
from pathlib import Path

import errand
import errand_method
import jax
import rich

from posttrain_jax import SFT
from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, prompts
from posttrain_jax.environment import host
from posttrain_jax.models import config, language_model, sharding, vocabulary
from posttrain_jax.rewards import pool
from posttrain_jax.rollout import sample, turn
from posttrain_jax.train import command, display, evaluate, offline, online, optimizer, plot, run

WORDS = vocabulary.characters()


@dataclasses.dataclass(frozen=True)
class Config:
    """The defaults take minutes on two cores."""

    folder: Path = Path("runs/tools")
    """Everything is written here."""
    seed: int = 0
    """Of questions, weights and draws."""
    warmup_steps: int = 600
    """Updates on the demonstrations."""
    steps: int = 100
    """Rollouts that are learned from."""
    recipe: errand_method.Method = errand_method.PLAIN
    """The method."""
    credit: errand.Whole | errand.Step = errand.Whole()
    """What is asked for and rewarded: whole dialogues, or single turns as in Step-GRPO."""


def main(c: Config) -> None:
    """Warm up on careless demonstrations, learn from right answers, show accuracy and calls before and after."""
    draw, limits = random.Random(c.seed), encode.Limits(prompt=36, completion=7)
    train, unseen = ([errand.question(draw) for _ in range(count)] for count in (2000, 256))
    read, shape = fields.DemonstrationFields(completion="answer"), batch.Bucket(36, 7)
    demos, _ = demonstrations.encode(errand.shown(train, draw), read, WORDS, limits)
    asked, held_out = (prompts.encode(rows, read.prompt, WORDS, limits)[0] for rows in (c.credit.asked(train), unseen))
    compute, mesh = config.Compute(stored=None, head_chunk=1024), sharding.make_mesh()
    model = language_model.LanguageModel(config.miniature(WORDS.vocab_size), compute, mesh)

    data = iterate.Batches(demos, batch.Pad([shape], WORDS.pad_id, 1), batch_size=128, seed=c.seed)
    adam = optimizer.make_optimizer(optimizer.AdamW(optimizer.Cosine(3e-3, c.warmup_steps, 10), b2=0.99))
    plan = run.Plan(c.folder, c.steps, save_every=50, eval_every=25, sample_every=25, seed=c.seed)
    warmup = run.Plan(c.folder / "warmup", c.warmup_steps, save_every=c.warmup_steps, seed=c.seed)
    first, parts = model.init(jax.random.key(c.seed)), offline.Offline(model, SFT(), adam, data)
    start = offline.run_offline(parts, warmup, first, loggers=[display.Display(c.warmup_steps, every=50)]).params

    sampling = sample.Sampling(36, (*WORDS.stop_ids, *WORDS.ending("]")))
    tools = host.Host(errand.reply, workers=1, timeout_s=5.0)
    with pool.RewardPool(errand.RIGHT, workers=1, timeout_s=5.0) as rewards, tools:
        turns, pad = turn.Turns(tools, limit=6, output_tokens=8, frame=errand.FRAME), prompts.Pad([8, 36], 0)
        batches = list(iterate.one_pass(held_out, pad, batch_size=256))
        right = evaluate.make_evaluate(model, WORDS, rewards, batches, sampling, group_size=4, turns=turns)
        adam = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(4e-4, 10), b2=0.99))
        data = iterate.Batches(asked, pad, batch_size=32, seed=c.seed)
        parts = online.Online(model, c.recipe, adam, WORDS, data, rewards, sampling, group_size=8, turns=turns)
        trained = online.run_online(parts, plan, start, loggers=[display.Display(c.steps)], evaluate=right).params
        rich.print(display.comparison({"after warm-up": right(start, 0), "after learning": right(trained, 0)}))
    rich.print(f"Curves: {plot.plot_run(c.folder)}")


if __name__ == "__main__":
    command.alone(main, Config)
