"""GRPO with this library's online loop, text decoded and rewarded as in the others; run by `compare.py`."""

import os
import pathlib
import tempfile

import jax
import workload

from posttrain_jax import GRPO
from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.models import config, pretrained, sharding
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import online, optimizer, run

folder, w = workload.given()
# one device for each core: rows are cut over them, and no operation is waited for by all cores
jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
stamps: list[tuple[float, float]] = []


class Clock:
    """Stamps where a step has been logged."""

    def log(self, step, values):
        stamps.append(workload.now())

    def samples(self, step, shown):
        """Nothing."""

    def close(self):
        """Nothing."""


def reward(sample):
    return workload.reward(sample.completion)


start = pretrained.load(folder, config.Compute(), sharding.make_mesh(data=jax.device_count()))
texts = [{"prompt": text} for text in workload.prompts(w, w.prompts * w.steps, w.prompt_len)]
rows, _ = prompts.encode(texts, fields.PromptFields("prompt"), start.tokenizer, encode.Limits(w.prompt_len, 1))
data = iterate.Batches(rows, prompts.Pad([w.prompt_len], start.tokenizer.pad_id), batch_size=w.prompts, seed=0)
sampling = sample.Sampling(w.completion_len, start.tokenizer.stop_ids)
adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-5)))
plan = run.Plan(pathlib.Path(tempfile.mkdtemp()), steps=w.steps)
with pool.RewardPool(combine.WeightedRewards({"odd": (1.0, reward)}), workers=0, timeout_s=1.0) as scorer:
    parts = online.Online(start.model, GRPO(), adamw, start.tokenizer, data, scorer, sampling, w.group_size)
    stamps.append(workload.now())
    online.run_online(parts, plan, start.params, loggers=[Clock()])
workload.report("ours_grpo", stamps, w.prompts * w.group_size * (w.prompt_len + w.completion_len), ("jax",))
