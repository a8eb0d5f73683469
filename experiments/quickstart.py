"""Spell words backward: a short supervised warm-up, then GRPO on a verifiable reward, on a laptop.

    make quickstart      # or: python experiments/quickstart.py --seed 1 --folder runs/seed1

Task: `spell_backward` of reasoning-gym, words of four letters; no held-out word is in the training set.
Claim: GRPO raises held-out accuracy (temperature 1) by at least 30 points. Seeds 0, 1, 2 gave 26.8 to 87.0 %, 9.8 to
65.6 %, 11.1 to 81.6 %, in two minutes each on two CPU cores.
"""

import dataclasses
from pathlib import Path

import jax
import rich

from posttrain_jax import GRPO, SFT
from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, prompts, tasks
from posttrain_jax.models import config, huggingface, language_model, pretrained, sharding, vocabulary
from posttrain_jax.rewards import combine, extract, pool, task_answer
from posttrain_jax.rollout import sample
from posttrain_jax.train import command, display, evaluate, offline, online, optimizer, plot, run

TASK, LENGTHS = "spell_backward", {"min_word_len": 4, "max_word_len": 4}
RIGHT = combine.WeightedRewards({"right": (1.0, task_answer.FullMarks(task_answer.TaskAnswer(TASK, extract.whole)))})
READ, SHAPE = fields.DemonstrationFields(completion="answer"), batch.Bucket(prompt=60, completion=5)


@dataclasses.dataclass(frozen=True)
class Config:
    """The defaults take minutes on two cores."""

    folder: Path = Path("runs/quickstart")
    """Everything is written here; the same command goes on where it was stopped."""
    seed: int = 0
    """Of words, weights and draws."""
    warmup_steps: int = 120
    """Updates on demonstrations, the learning rate rising to 2e-3 and falling again."""
    steps: int = 200
    """Rollouts that GRPO learns from, at a learning rate of 4e-4."""
    recipe: GRPO = GRPO(kl_coef=0.02)
    """The method."""


def adamw(schedule: optimizer.Constant | optimizer.Cosine):
    return optimizer.make_optimizer(optimizer.AdamW(schedule, b2=0.99))


def main(c: Config) -> None:
    """Warm up, learn from rewards, show held-out accuracy before and after, export and load again."""
    words, limits = vocabulary.characters(), encode.Limits(SHAPE.prompt, SHAPE.completion)
    task = tasks.generate(TASK, train=4000, held_out=256, seed=c.seed, config=LENGTHS)
    demos, _ = demonstrations.encode(task.train, READ, words, limits)
    asked, unseen = (prompts.encode(rows, READ.prompt, words, limits)[0] for rows in (task.train, task.held_out))
    compute, mesh = config.Compute(stored=None, head_chunk=1024), sharding.make_mesh()
    model = language_model.LanguageModel(config.miniature(words.vocab_size), compute, mesh)

    data = iterate.Batches(demos, batch.Pad([SHAPE], words.pad_id, 1), batch_size=64, seed=c.seed)
    parts = offline.Offline(model, SFT(), adamw(optimizer.Cosine(2e-3, c.warmup_steps, c.warmup_steps // 12)), data)
    plan = run.Plan(c.folder, c.steps, save_every=50, eval_every=50, sample_every=50, seed=c.seed)
    warmup = run.Plan(c.folder / "warmup", c.warmup_steps, save_every=c.warmup_steps, seed=c.seed)
    screen, first = display.Display(c.warmup_steps, every=50), model.init(jax.random.key(c.seed))
    start = offline.run_offline(parts, warmup, first, loggers=[screen]).params

    with pool.RewardPool(RIGHT, workers=2, timeout_s=5.0, memory_bytes=8 << 30) as rewards:
        pad, sampling = prompts.Pad([SHAPE.prompt], words.pad_id), sample.Sampling(SHAPE.completion, words.stop_ids)
        batches = list(iterate.one_pass(unseen, pad, batch_size=256))
        accuracy = evaluate.make_evaluate(model, words, rewards, batches, sampling, group_size=4)
        data = iterate.Batches(asked, pad, batch_size=64, seed=c.seed)
        parts = online.Online(
            model, c.recipe, adamw(optimizer.Constant(4e-4, 10)), words, data, rewards, sampling, group_size=16
        )
        trained = online.run_online(parts, plan, start, loggers=[display.Display(c.steps)], evaluate=accuracy).params
        huggingface.save(c.folder / "model", model.config, trained, words, overwrite=True)
        again = pretrained.load(c.folder / "model", compute, mesh).params
        stages = {"after warm-up": start, "after GRPO": trained, "exported and loaded again": again}
        right = {name: {"held-out accuracy": accuracy(params, 0)["reward"]} for name, params in stages.items()}
    rich.print(display.comparison(right))
    rich.print(f"Curves: {plot.plot_run(c.folder)}  Model: {c.folder / 'model'}")


if __name__ == "__main__":
    command.alone(main, Config)
