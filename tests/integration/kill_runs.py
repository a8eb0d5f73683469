"""Kill runs with SIGKILL at random moments, start them again with the same command, and compare how they end.

    python tests/integration/kill_runs.py kill --kills 20 --folder runs/killed

trains SFT, DPO and GRPO on a tiny model, one after the other, once undisturbed and once with kills in between: half of
them at random moments, half while a checkpoint is being written. `test_kill.py` does the same with a few kills.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

if __name__ == "__main__":
    FLAGS = (
        "--xla_force_host_platform_device_count=1",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    )
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
    os.environ["JAX_PLATFORMS"] = "cpu"
    sys.path.append(str(pathlib.Path(__file__).parents[1]))

import bigram
import jax
import numpy as np

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, preferences, prompts
from posttrain_jax.models import sharding, vocabulary
from posttrain_jax.recipes.likelihood import sft
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.recipes.preference import dpo
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import metrics, offline, online, optimizer, run

METHODS = ("sft", "dpo", "grpo")
WORDS = vocabulary.characters("abcd=")
LIMITS = encode.Limits(prompt=4, completion=4)
ROWS = [{"prompt": f"{a}{b}=", "completion": b + a, "chosen": b + a, "rejected": a} for a in "abcd" for b in "abcd"]


def letters_a(one):
    return one.completion.count("a") / 4


def adamw():
    return optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2)))


def batches(rows, pad):
    return iterate.Batches(rows, pad, batch_size=4, seed=0)


def train_offline(model, recipe, rows, plan, start):
    pad = batch.Pad([batch.Bucket(4, 4)], WORDS.pad_id, group_size=len(rows[0].completions))
    return offline.run_offline(offline.Offline(model, recipe, adamw(), batches(rows, pad)), plan, start)


def train_online(model, plan, start):
    rows, _ = prompts.encode(ROWS, fields.PromptFields(), WORDS, LIMITS)
    data = batches(rows, prompts.Pad([4], WORDS.pad_id))
    sampling = sample.Sampling(max_new_tokens=4, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id)
    with pool.RewardPool(combine.WeightedRewards({"a": (1.0, letters_a)}), workers=0, timeout_s=1.0) as rewards:
        parts = online.Online(model, grpo.GRPO(), adamw(), WORDS, data, rewards, sampling, group_size=4)
        return online.run_online(parts, plan, start)


def train(folder: pathlib.Path, steps: int, make_model) -> None:
    """All three methods; what they end with goes to `FOLDER/METHOD.npz`."""
    jax.config.update("jax_compilation_cache_dir", str(folder.parent / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    model = make_model(sharding.make_mesh(), WORDS.vocab_size)
    start = model.init(jax.random.key(0))
    shown, _ = demonstrations.encode(ROWS, fields.DemonstrationFields(), WORDS, LIMITS)
    pairs, _ = preferences.encode(ROWS, fields.PreferenceFields(), WORDS, LIMITS)
    plans = {method: run.Plan(folder / method, steps, save_every=1) for method in METHODS}
    keep(folder / "sft.npz", train_offline(model, sft.SFT(), shown, plans["sft"], start))
    keep(folder / "dpo.npz", train_offline(model, dpo.DPO(), pairs, plans["dpo"], start))
    keep(folder / "grpo.npz", train_online(model, plans["grpo"], start))


def keep(path: pathlib.Path, state) -> None:
    np.savez(path, *(np.asarray(x) for x in jax.tree.leaves((state.params, state.opt_state, state.step))))


def command(folder: pathlib.Path, steps: int, model: str) -> subprocess.Popen:
    """A process that trains; what it says goes to `FOLDER/log`."""
    folder.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, __file__, "train", "--folder", str(folder), "--steps", str(steps), "--model", model]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(line, stdout=log, stderr=log)


def progress(folder: pathlib.Path) -> int:
    """Steps done by all methods together, as their metrics tell."""
    files = [folder / method / "metrics.jsonl" for method in METHODS]
    return sum(path.read_text().count('"loss"') for path in files if path.exists())


def being_written(folder: pathlib.Path) -> bool:
    """Whether a checkpoint is under its temporary name."""
    return any(folder.glob("*/checkpoints/*tmp*"))


def kill_at(process: subprocess.Popen, folder: pathlib.Path, step: int, delay_s: float | None) -> bool:
    """SIGKILL some time after `step` steps, or (without a delay) while the checkpoint after it is being written."""
    until = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < until:
        if progress(folder) >= step and (delay_s is not None or being_written(folder)):
            time.sleep(delay_s or 0)
            process.send_signal(signal.SIGKILL)
            return process.wait() == -signal.SIGKILL
        time.sleep(0.001)
    raise RuntimeError(f"the run ended before step {step} of its three methods: see {folder / 'log'}.")


def finish(process: subprocess.Popen, folder: pathlib.Path) -> None:
    if process.wait(600) != 0:
        raise RuntimeError(f"a run failed: {(folder / 'log').read_text()[-3000:]}")


def kill_often(folder: pathlib.Path, kills: int, *, steps: int, model: str, seed: int) -> list[str]:
    """Train undisturbed and with kills; what differs in the end, and what was done."""
    random_ = random.Random(seed)
    whole, killed = folder / "whole", folder / "killed"
    undisturbed = command(whole, steps, model)
    # each later than the one before, so that every start gets on
    targets = sorted(random_.sample(range(len(METHODS) * steps), kills))
    for number, step in enumerate(targets):
        delay_s = None if number % 2 else random_.uniform(0, 0.5)
        kill_at(command(killed, steps, model), killed, step, delay_s)
        moment = "while a checkpoint was written" if delay_s is None else f"{delay_s:.3f} s later"
        print(f"kill {number + 1}: after step {step} of {len(METHODS) * steps}, {moment}", flush=True)
    finish(undisturbed, whole)
    finish(command(killed, steps, model), killed)
    return [difference for method in METHODS for difference in differences(whole, killed, method)]


def differences(one: pathlib.Path, two: pathlib.Path, method: str) -> list[str]:
    """What two runs of a method do not have in common, times aside."""
    left, right = (np.load(folder / f"{method}.npz") for folder in (one, two))
    found = [f"{method}: {name}" for name in left.files if left[name].tobytes() != right[name].tobytes()]
    lines = [metrics.read(folder / method / "metrics.jsonl") for folder in (one, two)]
    for first, second in zip(*lines, strict=True):
        kept = [{k: v for k, v in x.items() if not k.startswith(("seconds", "tokens_per"))} for x in (first, second)]
        found += [f"{method}: metrics of step {first['step']}"] if kept[0] != kept[1] else []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kill", "train"])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=["bigram", "decoder"], default="decoder")
    c = parser.parse_args()
    if c.what == "train":
        train(c.folder, c.steps, {"bigram": bigram.model, "decoder": bigram.decoder_model}[c.model])
        return
    found = kill_often(c.folder, c.kills, steps=c.steps, model=c.model, seed=c.seed)
    print("\n".join(found) or f"{c.kills} kills: everything ends equal, bit for bit.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
