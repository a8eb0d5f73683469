"""DPO with this library's offline loop, the reference's forward pass inside the step; run by `compare.py`."""

import os
import pathlib
import tempfile

import jax
import workload

from posttrain_jax import DPO
from posttrain_jax.data import batch, encode, fields, iterate, preferences
from posttrain_jax.models import config, pretrained, sharding
from posttrain_jax.train import offline, optimizer, run

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


start = pretrained.load(folder, config.Compute(), sharding.make_mesh(data=jax.device_count()))
limits = encode.Limits(w.pair_prompt_len, w.pair_completion_len)
rows, _ = preferences.encode(workload.pairs(w), fields.PreferenceFields(), start.tokenizer, limits)
pad = batch.Pad([batch.Bucket(limits.prompt, limits.completion)], start.tokenizer.pad_id, group_size=2)
data = iterate.Batches(rows, pad, batch_size=w.pairs, seed=0)
adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-6)))
plan = run.Plan(pathlib.Path(tempfile.mkdtemp()), steps=w.steps)
stamps.append(workload.now())
parts = offline.Offline(start.model, DPO(), adamw, data)
offline.run_offline(parts, plan, start.params, loggers=[Clock()])
workload.report("ours_dpo", stamps, w.pairs * 2 * (w.pair_prompt_len + w.pair_completion_len), ("jax",))
