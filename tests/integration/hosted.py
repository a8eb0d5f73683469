"""Tiny runs on a mesh of four devices that one, two or four processes hold together.

    python tests/integration/hosted.py COORDINATOR COUNT INDEX FOLDER TASK STEPS [TASK STEPS ...]

is one of COUNT processes. In FOLDER it leaves its runs, and in `COUNT.INDEX.json` what it alone did.
"""

import collections
import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import time

if __name__ == "__main__":
    FLAGS = (
        f"--xla_force_host_platform_device_count={4 // int(sys.argv[2])}",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",  # halves the time to compile
        "--xla_cpu_parallel_codegen_split_count=1",
    )
    os.environ |= {"XLA_FLAGS": " ".join(FLAGS), "JAX_PLATFORMS": "cpu"}
    sys.path.append(str(pathlib.Path(__file__).parents[1]))

import bigram
import jax
import numpy as np

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, preferences, prompts
from posttrain_jax.losses import difficulty, ensemble
from posttrain_jax.models import (
    adapter_folder,
    config,
    huggingface,
    language_model,
    lora,
    scalar_model,
    sharding,
    vocabulary,
)
from posttrain_jax.recipes.distillation import align_distil, on_policy
from posttrain_jax.recipes.likelihood import sft as sft_recipe
from posttrain_jax.recipes.policy import grpo as grpo_recipe
from posttrain_jax.recipes.policy import tis
from posttrain_jax.recipes.preference import dpo as dpo_recipe
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import curriculum, replay, sample, selection
from posttrain_jax.train import (
    checkpoint,
    checks,
    evaluate,
    host,
    judging,
    offline,
    online,
    optimizer,
    process,
    reference,
    rereading,
    rows,
    run,
)

WORDS = vocabulary.characters("abcd=")
LIMITS = encode.Limits(prompt=4, completion=6)
PROMPT = fields.PromptFields("prompt")
ROWS = [{"prompt": f"{a}{b}=", "completion": b + a, "rejected": a + a + a} for a in "abcd" for b in "abcd"]

DONE = collections.Counter()
"""How many rows this process has encoded and padded, and completions scored."""
HEARD = []
"""The sentences with which this process was refused."""


VOCAB_SIZE = WORDS.vocab_size + WORDS.vocab_size % 2


def made(tensor=1, stand_in=False, fsdp=2, adapters=None, devices=None):
    """A decoder or its stand-in on the four devices, and parameters that are the same on every mesh."""
    shape = config.miniature(VOCAB_SIZE, hidden_size=64, num_layers=1)
    mesh = sharding.make_mesh(data=4 // fsdp, fsdp=fsdp // tensor, tensor=tensor, devices=devices)
    model = language_model.LanguageModel(shape, config.Compute(stored=None, head_chunk=16), mesh, lora=adapters)
    return filled(bigram.model(mesh, VOCAB_SIZE) if stand_in else model, 0)


def filled(model, seed, scale=0.1):
    """The model, and its parameters."""
    random = np.random.default_rng(seed)

    def one(path, like):
        whole = random.normal(size=like.shape, scale=scale).astype(np.float32) + path[-1].key.endswith("norm")
        return jax.make_array_from_callback(like.shape, like.sharding, lambda index: whole[index], dtype=like.dtype)

    params = jax.tree.map_with_path(one, lora.base(model.abstract_params()))
    return model, model.adapt(params) if model.lora else params


def spanning():
    """The devices in an order in which each tensor axis of two takes in two processes."""
    return [jax.devices()[index] for index in (0, 2, 1, 3)]


def padded(pad):
    """`pad`, counting the rows that it is to give."""

    def counting(own_rows, own):
        DONE["rows"] += len(own_rows[own])
        return pad(own_rows, own)

    return counting


def read(fields_of):
    """`fields_of`, counting the rows that are read with it."""

    def counting(row):
        DONE["encoded"] += 1
        return fields_of(row)

    return counting


def learn(folder, steps, recipe, encoded, group_size, stand_in, adapters=None, fsdp=2, **more):
    """An offline run on batches of 8; the model and all its parameters."""
    model, params = made(stand_in=stand_in, adapters=adapters, fsdp=fsdp)
    pad = padded(batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, group_size))
    adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2)))
    parts = offline.Offline(model, recipe, adamw, iterate.Batches(encoded, pad, batch_size=8, seed=0))
    state = offline.run_offline(parts, run.Plan(folder, steps, eval_every=1, save_every=2), params, **more)
    return model, params | state.params


def sft(folder, steps, stand_in=False):
    shown = read(fields.DemonstrationFields(PROMPT, "completion"))
    learn(folder, steps, sft_recipe.SFT(), demonstrations.encode(ROWS, shown, WORDS, LIMITS)[0], 1, stand_in)


def is_told_to_end(folder, steps):
    """SFT whose last process alone is sent SIGTERM, in its second step."""

    def sends(params, step):
        if step == 2 and jax.process_index() == jax.process_count() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    encoded = demonstrations.encode(ROWS, fields.DemonstrationFields(PROMPT, "completion"), WORDS, LIMITS)[0]
    try:
        learn(folder, steps, sft_recipe.SFT(), encoded, 1, True, evaluate=sends)
    except SystemExit as end:
        DONE["exit"] = end.code


class Full:
    """A logger that finds no room on the first process's disk."""

    def log(self, step, values):
        if step == 2:
            raise OSError("no room for numbers")

    def samples(self, step, samples):
        pass

    def close(self):
        pass


def cannot_report(folder, steps):
    """SFT whose first process fails where the others do nothing."""
    encoded = demonstrations.encode(ROWS, fields.DemonstrationFields(PROMPT, "completion"), WORDS, LIMITS)[0]
    try:
        learn(folder, steps, sft_recipe.SFT(), encoded, 1, True, loggers=[Full()])
    except (OSError, RuntimeError) as error:
        HEARD.append(str(error))


def lacks_room(folder, steps):
    """SFT whose last process has no room on its disk from the third step on."""
    usage = shutil.disk_usage

    def fills(params, step):
        if step == 3 and jax.process_index() == jax.process_count() - 1:
            shutil.disk_usage = lambda path: usage(path)._replace(free=100)
        return {}

    encoded = demonstrations.encode(ROWS, fields.DemonstrationFields(PROMPT, "completion"), WORDS, LIMITS)[0]
    try:
        learn(folder, steps, sft_recipe.SFT(), encoded, 1, True, evaluate=fills)
    except ValueError as error:
        HEARD.append(str(error))
    shutil.disk_usage = usage


def fills_up(folder, steps):
    """The disk of the last process is full from the third step on."""
    checkpoint.APART_S = 10

    def fills(params, step):
        if step == 3 and jax.process_index() == jax.process_count() - 1:
            while not (folder / "checkpoints" / "2").exists():
                time.sleep(0.1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        return {}

    encoded = demonstrations.encode(ROWS, fields.DemonstrationFields(PROMPT, "completion"), WORDS, LIMITS)[0]
    learn(folder, steps, sft_recipe.SFT(), encoded, 1, True, evaluate=fills, fsdp=4)


def dpo(folder, steps, adapters=None):
    pairs = read(fields.PreferenceFields(PROMPT, "completion", "rejected"))
    encoded = preferences.encode(ROWS, pairs, WORDS, LIMITS)[0]
    model, params = learn(folder, steps, dpo_recipe.DPO(beta=0.5), encoded, 2, False, adapters=adapters)
    huggingface.save(folder / "model", model.config, model.merge(params), overwrite=True)
    if adapters:
        adapter_folder.save(folder / "adapters", model, params, overwrite=True)


def letters_a(one):
    DONE["scored"] += 1
    return one.completion.count("a") / 6


def scorer(reward, kind=pool.RewardPool):
    return kind(combine.WeightedRewards({"a": (1.0, reward)}), workers=0, timeout_s=1.0)


SAMPLING = sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id)


def asked():
    return prompts.encode(ROWS, read(PROMPT), WORDS, LIMITS)[0], padded(prompts.Pad([4], WORDS.pad_id))


def grpo(folder, steps, reward=letters_a, stand_in=False, adapters=None, kind=pool.RewardPool):
    model, params = made(tensor=2, stand_in=stand_in, adapters=adapters, devices=spanning() if stand_in else None)
    encoded, pad = asked()
    data = iterate.Batches(encoded, pad, batch_size=4, seed=0)
    adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2)))
    parts = online.Online(model, grpo_recipe.GRPO(), adamw, WORDS, data, scorer(reward, kind), SAMPLING, group_size=4)
    online.run_online(parts, run.Plan(folder, steps), params)


def selects(folder, steps):
    """Rounds of prompts until the batch is full, and old completions among the new, on a stand-in."""
    model, params = made(stand_in=True, fsdp=1)
    encoded, pad = asked()[0], prompts.Pad([4], WORDS.pad_id)
    spread = difficulty.Spread(0.0)
    chosen = selection.Refill(
        spread, max_rounds=20, of=replay.Replay(spread, capacity=8, max_age=2, of=curriculum.Unsolved(rate=1.0))
    )
    parts = online.Online(
        model,
        tis.TIS(grpo_recipe.GRPO(kl_coef=0.0)),
        optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2))),
        WORDS,
        iterate.Batches(encoded, pad, batch_size=4, seed=0),
        scorer(begins_with_a),
        SAMPLING,
        group_size=4,
        selection=chosen,
    )
    online.run_online(parts, run.Plan(folder, steps), params)


def taught(folder, steps):
    """Own completions of a stand-in whose two teachers are elsewhere: on its devices in another order, on half of them.

    They are rewarded by a model that reads them in tokens of its own.
    """
    model, params = made(stand_in=True, fsdp=1)
    words, devices = vocabulary.characters("=dcba"), jax.devices()
    places = {
        "dpo": sharding.make_mesh(data=2, tensor=2, devices=devices),
        "reverse_dpo": sharding.make_mesh(data=2, devices=devices[::2]),
    }
    others = {role: filled(bigram.model(place, VOCAB_SIZE), len(role), 1.0) for role, place in places.items()}
    head, scores = filled(scalar_model.ScalarModel(bigram.decoder_model(model.mesh, VOCAB_SIZE)), 3)
    reading = rereading.Reading(PROMPT, LIMITS)
    encoded, pad = asked()
    parts = online.Online(
        model,
        on_policy.OnPolicy(align_distil.AlignDistil(1.0, extrapolation=0.5)),
        optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2))),
        WORDS,
        iterate.Batches(encoded, pad, batch_size=4, seed=0),
        None,
        SAMPLING,
        group_size=2,
        fixed={role: reference.Fixed(*other, WORDS) for role, other in others.items()},
        judge=judging.Judge(head, (scores,), words, ensemble.mean, reading=reading),
    )
    try:
        online.run_online(parts, run.Plan(folder, steps), params)
    except ValueError as error:
        HEARD.append(str(error))


def begins_with_a(one):
    return float(one.completion.startswith("a"))


def unscored(folder, steps):
    """GRPO whose last step cannot be scored: the first process says why not, the others hear it."""

    def fails(one):
        if DONE["scored"] == 4 + 16 * (steps - 1) // jax.process_count():  # four to see that fields are there
            raise RuntimeError(f"no answer in process {jax.process_index()}")
        return letters_a(one)

    try:
        grpo(folder, steps, fails)
    except RuntimeError as error:
        HEARD.append(str(error))


def cannot_score(folder, steps):
    """GRPO whose last process finds no worker for its rewards in the last step."""

    class Breaking(pool.RewardPool):
        def score(self, samples):
            if jax.process_index() == jax.process_count() - 1 and DONE["asked"] == steps:
                raise RuntimeError("a reward worker did not start.")
            DONE["asked"] += 1
            return super().score(samples)

    try:
        grpo(folder, steps, stand_in=True, kind=Breaking)
    except RuntimeError as error:
        HEARD.append(str(error))


def evaluated(folder, steps):
    """Held-out numbers; of the one batch, some processes hold fewer rows than others, or none."""
    model, params = made(tensor=min(2, jax.local_device_count()))
    encoded, pad = asked()
    batches = list(iterate.one_pass(encoded[:6], pad, batch_size=8))
    numbers = evaluate.make_evaluate(model, WORDS, scorer(letters_a), batches, SAMPLING)(params, steps)
    if jax.process_index() == 0:
        folder.with_suffix(".json").write_text(json.dumps(numbers))


def refused(folder, steps):
    """What only the last process could see is refused in all, with the same sentence."""
    last = jax.process_index() == jax.process_count() - 1
    prompt = np.full((8 // jax.process_count(), 4), WORDS.bos_id if last else 3, np.int32)
    mask = np.full((8 // jax.process_count(), 1, 2), not last)
    ids = np.arange(len(mask), dtype=np.int32) + len(mask) * jax.process_index()

    def encoded(rows):
        demonstrations.encode(rows, fields.DemonstrationFields(PROMPT, "completion"), WORDS, LIMITS)

    def as_one(check, *args):
        with process.as_one():
            check(*args)

    def scores():
        with process.as_one(RuntimeError):
            if last:
                raise RuntimeError("no reward worker here")

    trials = [
        lambda: as_one(checks.double_bos, prompt, WORDS.bos_id),
        lambda: as_one(checks.counted_rows, mask, ids),
        lambda: as_one(checks.writable, pathlib.Path("/proc/nowhere") if last else folder.parent),
        lambda: process.agree(str(last), "differs from the first"),
        lambda: rows.to_devices(jax.NamedSharding(sharding.make_mesh(data=3), jax.P(sharding.ROWS)), np.zeros((3, 4))),
        lambda: encoded([*ROWS[:-1], {"prompt": "a="}]),  # the last process's part
        lambda: encoded(ROWS[:-1] if last else ROWS),
        scores,
    ]
    for trial in trials:
        try:
            trial()
        except ValueError as error:
            HEARD.append(str(error))
        except RuntimeError as error:
            HEARD.append(f"RuntimeError: {error}")


def fails_alone(folder, steps):
    """The last process fails where the others wait for it."""
    if jax.process_index() == jax.process_count() - 1:
        raise ValueError("this process alone")
    process.anyone(True)


def is_killed(folder, steps):
    """The last process is killed where the others wait for it."""
    if jax.process_index() == jax.process_count() - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    process.anyone(True)


def small_sft(folder, steps):
    sft(folder, steps, stand_in=True)


def small_grpo(folder, steps):
    grpo(folder, steps, stand_in=True)


def adapted_dpo(folder, steps):
    dpo(folder, steps, adapters=lora.Lora(rank=4))


def adapted_grpo(folder, steps):
    grpo(folder, steps, adapters=lora.Lora(rank=4))


TASKS = {one.__name__: one for one in (sft, dpo, grpo, adapted_dpo, adapted_grpo)}
TASKS |= {one.__name__: one for one in (small_sft, small_grpo, selects, taught)}
TASKS |= {one.__name__: one for one in (unscored, evaluated, refused, cannot_report, cannot_score, lacks_room)}
TASKS |= {one.__name__: one for one in (is_told_to_end, fails_alone, is_killed, fills_up)}


def main(coordinator, count, index, folder, *tasks):
    host.Hosts(coordinator, int(count), int(index)).join()
    if count == "1":
        # what one process has compiled, the next need not
        jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(folder).parent / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    for task, steps in zip(tasks[::2], tasks[1::2], strict=True):
        TASKS[task](pathlib.Path(folder) / task, int(steps))
    told = {"devices": jax.local_device_count(), "heard": HEARD, **DONE}
    pathlib.Path(folder, f"{count}.{index}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
