"""Every kind of bad input, the sentence that a person reads for it, and what is left of the run."""

import dataclasses
import json
import os
import pathlib
import resource
import shutil

import bigram
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from posttrain_jax.data import (
    batch,
    demonstrations,
    encode,
    entries,
    fields,
    iterate,
    preferences,
    prompts,
    reading,
    solutions,
    source,
)
from posttrain_jax.environment import host, toolbox
from posttrain_jax.losses import difficulty, ensemble
from posttrain_jax.models import config, pretrained, scalar_model, sharding, tokenizer, vocabulary
from posttrain_jax.recipes.distillation import gkd
from posttrain_jax.recipes.likelihood import sft
from posttrain_jax.recipes.policy import dcpo, gigpo, grao, grpo, ppo, remax
from posttrain_jax.recipes.preference import dpo, kto, online_preference, sparse_po
from posttrain_jax.recipes.reward_model import bradley_terry
from posttrain_jax.rewards import combine, exact_match, pool
from posttrain_jax.rollout import replay, sample, selection, turn
from posttrain_jax.train import (
    capacity,
    evaluate,
    judging,
    offline,
    online,
    optimizer,
    process,
    provenance,
    reference,
    run,
)

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
WORDS = vocabulary.characters("abcd=")
ROWS = [{"prompt": f"{a}{b}=", "completion": b + a} for a in "abcd" for b in "abcd"]
LIMITS = encode.Limits(prompt=4, completion=4)
READ = fields.DemonstrationFields()


@dataclasses.dataclass(frozen=True)
class World:
    """What a case may use and spoil."""

    folder: pathlib.Path
    patch: pytest.MonkeyPatch

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return str(self.folder / name)


def model_of(kind=bigram.Bigram, vocab_size=8, **mesh):
    return kind(bigram.small(vocab_size), config.Compute(), sharding.make_mesh(**mesh))


def encoded(rows=ROWS, *, read=READ, words=WORDS, limits=LIMITS, **more):
    return demonstrations.encode(rows, read, words, limits, **more)[0]


def adamw():
    return optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2)))


def demonstrate(world, model=None, *, rows=None, recipe=None, bucket=(4, 4), params=None, words=WORDS, **plan):
    """Train on demonstrations."""
    model = model or model_of()
    rows = rows or encoded()
    pad = batch.Pad([batch.Bucket(*bucket)], words.pad_id, len(rows[0].completions))
    data = iterate.Batches(rows, pad, batch_size=4, seed=0)
    plan = run.Plan(**{"folder": world.folder / "run", "steps": 2, "save_every": 1} | plan)
    start = model.init(jax.random.key(0)) if params is None else params
    return offline.run_offline(offline.Offline(model, recipe or sft.SFT(), adamw(), data), plan, start)


def length(one):
    return len(one.completion)


def scored(reward=length):
    return pool.RewardPool(combine.WeightedRewards({"mine": (1.0, reward)}), workers=0, timeout_s=1.0)


def practise(world, model=None, *, reward=length, recipe=None, stops=WORDS.stop_ids, tokens=None, params=None, **more):
    """Train on rewards."""
    model = model or model_of()
    rows, _ = prompts.encode(ROWS, fields.PromptFields(), WORDS, LIMITS)
    if tokens is not None:
        spoilt = dataclasses.replace(rows[0].tokens, prompt=np.asarray(tokens, np.int32))
        rows = [dataclasses.replace(row, tokens=spoilt) for row in rows]
    data = iterate.Batches(rows, prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0)
    sampling = sample.Sampling(max_new_tokens=4, stop_ids=stops, pad_id=WORDS.pad_id)
    with scored(reward) as rewards:
        others = {name: more.pop(name) for name in ("selection", "turns", "judge", "fixed") if name in more}
        size = more.pop("group_size", 4)
        parts = online.Online(model, recipe or grpo.GRPO(), adamw(), WORDS, data, rewards, sampling, size, **others)
        plan = run.Plan(**{"folder": world.folder / "run", "steps": 2} | more)
        start = model.init(jax.random.key(0)) if params is None else params
        return online.run_online(parts, plan, start)


def alike(count, **columns):
    """Eight rows of so many completions."""
    row = encode.TokenRow(np.asarray([1, 3]), tuple(np.asarray([4 + i % 3, 2]) for i in range(count)), 0, columns)
    return [row] * 8


def prefer(world, **more):
    """Train on preferences."""
    return demonstrate(world, rows=alike(2), recipe=dpo.DPO(), **more)


def folder_of_model(world, change, **entries):
    """A folder of a model whose tensors or config were spoilt."""
    folder = shutil.copytree(FIXTURES / "qwen3", world.folder / "model")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    settings = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps(settings))
    WORDS.save(folder)
    return pretrained.load(folder, config.Compute(), sharding.make_mesh())


def spoilt_folder(world, name, size):
    """A folder of a model one of whose files broke off."""
    folder_of_model(world, lambda tensors: None)
    path = world.folder / "model" / name
    path.write_bytes(path.read_bytes()[:size])
    return pretrained.load(path.parent, config.Compute(), sharding.make_mesh())


def without_eos(world):
    WORDS.save(world.folder)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (world.folder / name).exists():
            settings = json.loads((world.folder / name).read_text())
            settings.pop("eos_token")
            (world.folder / name).write_text(json.dumps(settings))
    (world.folder / "generation_config.json").unlink()
    return tokenizer.load(world.folder)


@dataclasses.dataclass(frozen=True)
class Doubling:
    """A tokenizer that begins twice."""

    bos_id: int = 1

    def decode(self, ids):
        return ""

    def render_prompt(self, prompt):
        return [1, 1, 3]

    def render_completion(self, text):
        return [3, 2]

    def render_example(self, messages):
        return [1, 1, 3], [3, 2]


def templated(template):
    words = vocabulary.characters("abcd=")
    words.pretrained.chat_template = template
    row = [{"prompt": [{"role": "user", "content": "a"}], "completion": "b"}]
    return encoded(row, words=words)


SILENT = "{% for m in messages %}{% if m['role'] == 'user' %}a={% endif %}{% endfor %}"


@dataclasses.dataclass(frozen=True)
class Crooked(bigram.Bigram):
    """Samples at another temperature than it scores."""

    def token_stats(self, params, groups, *, temperature=1.0, kept_ids=None, comparisons=None, fixed=None):
        return super().token_stats(params, groups, temperature=3 * temperature, kept_ids=kept_ids)


@dataclasses.dataclass(frozen=True)
class Exploding(sft.SFT):
    """A loss that is no number."""

    def loss(self, policy, batch):
        loss, numbers = super().loss(policy, batch)
        return loss * np.float32(np.nan), numbers


def spoilt_params():
    params = model_of().init(jax.random.key(0))
    return params | {"head": params["head"].at[0, 0].set(jnp.nan)}


def one_with_nothing_to_learn():
    return [dataclasses.replace(row, completions=(np.asarray([], np.int32),)) for row in encoded()]


def moved(params):
    return jax.tree.map(lambda x: x + jnp.linspace(0, 1, x.size).reshape(x.shape), params)


def other_version(world):
    world.patch.setattr(provenance, "version", lambda: "0.0.1")
    demonstrate(world)
    world.patch.undo()
    return prefer(world)


def squeezed(world, train, nth):
    """Room for the first `nth` stages and no more."""
    rooms = iter([capacity.Room(1 << 40, 1 << 40)] * nth + [capacity.Room(64, 1 << 34)] * 9)
    world.patch.setattr(capacity, "room", lambda: next(rooms))
    return train(world)


def small_disk(world, do):
    usage = shutil.disk_usage("/")._replace(free=1000)
    world.patch.setattr(shutil, "disk_usage", lambda _: usage)
    return do()


def taught(world, recipe, positions=64, **fixed):
    """Learn from teachers."""
    model = model_of()
    start = model.init(jax.random.key(0))
    teacher = dataclasses.replace(model, config=dataclasses.replace(model.config, max_position=positions))
    others = {role: reference.Fixed(teacher, start, words) for role, words in fixed.items()}
    pad = batch.Pad([batch.Bucket(4, 4)], WORDS.pad_id, 1)
    data = iterate.Batches(encoded(), pad, batch_size=4, seed=0)
    parts = offline.Offline(model, recipe, adamw(), data, fixed=others, tokenizer=WORDS)
    return offline.run_offline(parts, run.Plan(world.folder / "run", 2), start)


def scalar():
    """A reward model."""
    return scalar_model.ScalarModel(bigram.decoder_model(sharding.make_mesh(), 8))


def params_without_head():
    return {"embedding": model_of().init(jax.random.key(0))["embedding"]}


def of_one_device():
    return model_of().init(jax.random.key(0))


def replies(asked):
    return None


def stored_of_others(world):
    """Entries of a teacher that read other rows."""
    writer = entries.Writer(world.folder, alike(1), count=2)
    for _ in range(8):
        writer.append(np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float32))
    writer.finish(temperature=1.0)
    return entries.read(world.folder, encoded(), width=4, vocab_size=8)


SPREAD = difficulty.Spread(0.0)


def read_only(world):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    world.patch.setattr(pathlib.Path, "mkdir", refuse)
    return demonstrate(world)


def a_file_there(world):
    return demonstrate(world, folder=pathlib.Path(world.write("taken", "")))


def taken_folder(world):
    (world.folder / "run").mkdir()
    other = process.Lock(world.folder / "run")
    try:
        return demonstrate(world)
    finally:
        other.release()


def name(tensor):
    return f"model.layers.1.{tensor}.weight"


BEFORE = {
    "a missing field": (
        lambda w: encoded([*ROWS, {"prompt": "a="}]),
        r"row 16: there is no field 'completion'; the row has 'prompt': name one of those",
    ),
    "a misspelt field": (
        lambda w: encoded(read=fields.DemonstrationFields(completion="complation")),
        r"row 0: there is no field 'complation'; the row has 'prompt', 'completion'",
    ),
    "a field of another kind": (
        lambda w: encoded([{"prompt": "a=", "completion": 7}]),
        r"row 0: field 'completion' holds int 7, not text",
    ),
    "an empty line": (
        lambda w: source.read(w.write("a.jsonl", '{"prompt": "a"}\n\n{"prompt": "b"}\n')),
        r"a\.jsonl line 2 is empty; every line must hold one JSON object: remove it",
    ),
    "a half-written line": (
        lambda w: source.read(w.write("a.jsonl", '{"prompt": "a"}\n{"prompt": "b')),
        r"a\.jsonl line 2 is not whole JSON \(Unterminated string .*mend or remove it",
    ),
    "a prompt longer than the limit": (
        lambda w: encoded(limits=encode.Limits(3, 4, long_prompt=encode.refuse)),
        r"row 0: 3 tokens exceed the limit of 2; raise the limit, or let such rows be cut",
    ),
    "prompts and completions longer than the model": (
        lambda w: demonstrate(w, bucket=(40, 40)),
        r"prompts of 40 and completions of 40 tokens exceed the 64 positions .*lower the limits, or raise",
    ),
    "a completion with no trainable token": (
        lambda w: encoded([*ROWS, {"prompt": "a=", "completion": " "}]),
        r"row 16: the completion is empty",
    ),
    "rows of tokens with no trainable one": (
        lambda w: demonstrate(w, rows=one_with_nothing_to_learn()),
        r"4 rows of the first batch, data row \d+ among them, have no token to learn from",
    ),
    "pairs that prefer nothing": (
        lambda w: preferences.encode(
            [{"prompt": "a=", "chosen": "abcd", "rejected": "abca"}],
            fields.PreferenceFields(),
            WORDS,
            encode.Limits(4, 3),
        ),
        r"in all 1 rows the completions are the same tokens within the limit of 3, .*: raise the limit, or mend",
    ),
    "half of a character": (
        lambda w: vocabulary.byte_pairs(["a"], 259).encode("a\ud83d"),
        r"the text holds half of a character, '\\ud83d' at 1: mend or remove it",
    ),
    "no row that is fit": (
        lambda w: encoded([{"prompt": "a="}] * 3, max_bad_fraction=1.0),
        r"none of the 3 rows is fit .*: row 0: there is no field 'completion'",
    ),
    "a file that is not there": (
        lambda w: source.read(str(w.folder / "rows.jsonl")),
        r"there is no file or folder '.*rows\.jsonl' in",
    ),
    "a file without rows": (lambda w: source.read(w.write("a.jsonl", "")), r"a\.jsonl holds no rows"),
    "a file of another kind": (
        lambda w: source.read(w.write("a.csv", "a,b")),
        r"a\.csv is none of the kinds that can be read: \.jsonl",
    ),
    "a folder without data": (
        lambda w: source.read(str(w.folder)),
        r"has no data file \(\.jsonl, .*\); its data files: none: give another folder, or a file",
    ),
    "a model folder that is not there": (
        lambda w: pretrained.load(w.folder / "model", config.Compute(), sharding.make_mesh()),
        r"model' is no folder: give that of a model \(config.json, \*.safetensors, a tokenizer\), or a name on the hub",
    ),
    "a missing tensor": (
        lambda w: folder_of_model(w, lambda t: t.pop(name("mlp.up_proj"))),
        r"does not fit its config.json: model.layers.1.mlp.up_proj.weight is missing",
    ),
    "an extra tensor": (
        lambda w: folder_of_model(w, lambda t: t.update(other=np.ones(3, np.float32))),
        r"does not fit its config.json: other is unexpected",
    ),
    "a misshapen tensor": (
        lambda w: folder_of_model(w, lambda t: t.update({name("mlp.up_proj"): np.ones((2, 3), np.float32)})),
        r"model.layers.1.mlp.up_proj.weight has shape \[2, 3\] where the config needs",
    ),
    "a tensor file that broke off": (
        lambda w: spoilt_folder(w, "model.safetensors", 999),
        r"model\.safetensors is not a whole safetensors file \(.*\): fetch or write it again",
    ),
    "a model config that is not whole": (
        lambda w: spoilt_folder(w, "config.json", 99),
        r"config\.json is not whole JSON \(.*\); fetch or write it again",
    ),
    "a tokenizer that is not whole": (
        lambda w: spoilt_folder(w, "tokenizer.json", 99),
        r"the tokenizer of .* cannot be read \(.*\): save or fetch tokenizer\.json and tokenizer_config\.json again",
    ),
    "a model config with text for a number": (
        lambda w: folder_of_model(w, lambda t: None, hidden_size="64"),
        r"config\.json says hidden_size = '64', which is no integer: write it as one",
    ),
    "a model of another kind": (
        lambda w: folder_of_model(w, lambda t: None, model_type="mamba"),
        r"model_type 'mamba' is not supported; use a model of type",
    ),
    "a model config from another version": (
        lambda w: folder_of_model(w, lambda t: None, clever_attention=True),
        r"config.json of this qwen3 model holds clever_attention = True, which would not be computed; remove the key",
    ),
    "a model config that says too little": (
        lambda w: folder_of_model(w, lambda t: None, hidden_size=None),
        r"config.json does not say hidden_size; add what the model was trained with",
    ),
    "a tokenizer without EOS": (without_eos, r"The tokenizer has no EOS token; set eos_token in its tokenizer_config"),
    "double BOS in the data": (
        lambda w: encoded(words=Doubling()),
        r"row 0: the prompt begins with two BOS tokens \(id 1\): leave BOS to the tokenizer",
    ),
    "double BOS in token rows": (
        lambda w: practise(w, tokens=[1, 1, 3]),
        r"a prompt begins with two BOS tokens \(id 1\): drop the one in the text or chat template",
    ),
    "a chat template with an all-zero mask": (
        lambda w: templated(SILENT),
        r"row 0: The chat template writes nothing of the assistant's answer, .*use a template that does",
    ),
    "devices that the mesh does not divide": (
        lambda w: sharding.MeshShape(data=3).build(),
        r"data=3 x tensor=1 does not divide the 8 devices.*choose divisors, or say fsdp=1 to use fewer",
    ),
    "more devices than there are": (
        lambda w: sharding.MeshShape(data=3, fsdp=3).build(),
        r"data=3 x fsdp=3 x tensor=1 needs 9 devices and there are 8: choose positive sizes",
    ),
    "a width that the mesh does not divide": (
        lambda w: bigram.decoder_model(sharding.make_mesh(tensor=4), 8),
        r"the mesh axis tensor=4 does not divide num_kv_heads=2: choose a divisor for tensor",
    ),
    "a batch that the mesh does not divide": (
        lambda w: demonstrate(w, model_of(data=8)),
        r"a batch of 4 rows cannot be shared by 8 row shards \(data x fsdp\): use a multiple of 8 rows",
    ),
    "a batch that micro-batches do not divide": (
        lambda w: demonstrate(w, micro_batches=3),
        r"a batch of 4 rows does not split into 3 micro-batches on 1 row shards .* use a multiple of 3 rows, or fewer",
    ),
    "prompts that micro-batches do not divide": (
        lambda w: practise(w, micro_batches=8),
        r"a batch of 4 rows does not split into 8 micro-batches",
    ),
    "evaluation longer than the model": (
        lambda w: evaluate.make_evaluate(
            model_of(), WORDS, scored(), [], sample.Sampling(max_new_tokens=65, stop_ids=WORDS.stop_ids)
        ),
        r"prompts of 0 and completions of 65 tokens exceed the 64 positions .*lower the limits, or raise",
    ),
    "an output folder that is a file": (
        a_file_there,
        r"the folder .*taken cannot be written to \(File exists\): give another one, or mend its permissions",
    ),
    "an output folder that another run trains in": (
        taken_folder,
        r"another process is training in .*run: wait until it has ended, or give another folder",
    ),
    "steps without a label": (
        lambda w: solutions.encode(
            [{"prompt": "a=", "completions": ["ab"], "labels": [None]}], solutions.SolutionFields(), WORDS, LIMITS
        ),
        r"none of the 1 rows is fit and within the limits of 4 prompt and 4 completion tokens: raise these",
    ),
    "lists of numbers of several lengths": (
        lambda w: reading.encode(
            reading.Pairs(numbers={"annotator": "rater"}),
            [{"prompt": "a", "chosen": "b", "rejected": "c", "rater": rater} for rater in (1, [1, 2])],
            WORDS,
            LIMITS,
        ),
        r"row 1: the numbers 'annotator' have shape \(2,\) where the first row's have \(\)",
    ),
    "an output folder without permission": (read_only, r"cannot be written to \(Permission denied\): give another one"),
    "a disk without room for checkpoints": (
        lambda w: small_disk(w, lambda: demonstrate(w)),
        r"2 checkpoints take .* GiB and the disk of .* has 9.31e-07 GiB free: make room, give a folder on another disk",
    ),
    "sampling that cannot stop": (
        lambda w: practise(w, stops=()),
        r"sampling has no stop id, so no completion could end before the length limit: give the EOS id",
    ),
    "a field that a reward reads and no row has": (
        lambda w: practise(w, reward=exact_match.ExactMatch(answer_field="ansver")),
        r"the reward mine cannot be computed: the example has no field 'ansver'; it has completion, prompt\. Give",
    ),
    "a stop token that cannot be drawn": (
        lambda w: practise(w, stops=(8,)),
        r"a stop id of \(8,\) is outside the vocabulary of 8: it could never be drawn",
    ),
}
"""What is known before training: the case, and its sentence. Nothing is compiled until then."""

PARTS = {
    "a share of bad rows that is a number of them": (
        lambda w: encoded(max_bad_fraction=2.0),
        r"max_bad_fraction=2.0 is no share of the rows: give one from 0 to 1",
    ),
    "a seed below 0": (lambda w: demonstrate(w, seed=-1), r"seed=-1 must be at least 0 and below 2\*\*63"),
    "no step": (lambda w: demonstrate(w, steps=0), r"steps=0 must be at least 1"),
    "a batch of no rows": (
        lambda w: iterate.share(0),
        r"a batch of 0 rows holds nothing to learn from: give at least 1",
    ),
    "a learning rate that climbs": (
        lambda w: optimizer.Constant(-1e-3),
        r"a learning rate of -0.001 would not descend: give a positive one",
    ),
    "a learning rate that is no number": (lambda w: optimizer.Cosine(float("nan"), 9), r"a learning rate of nan would"),
    "a warm-up longer than the run": (
        lambda w: optimizer.Cosine(1e-3, 9, 9),
        r"warmup_steps=9 must be at least 0 and below total_steps=9: shorten the warm-up or lengthen the run",
    ),
    "a recipe of rewards without rewards": (
        lambda w: demonstrate(w, recipe=grpo.GRPO()),
        r"GRPO learns from rollouts and their rewards: train it with run_online",
    ),
    "a recipe of given completions in the online loop": (
        lambda w: practise(w, recipe=dpo.DPO()),
        r"DPO learns from given completions: train it with run_offline",
    ),
    "the class of a recipe": (
        lambda w: demonstrate(w, recipe=sft.SFT),
        r"SFT is the class of a recipe: give one, SFT\(\.\.\.\)",
    ),
    "a recipe of reward models for a model of words": (
        lambda w: demonstrate(w, rows=alike(2), recipe=bradley_terry.BradleyTerry()),
        r"BradleyTerry trains a reward model \(`ScalarModel`\), and this one is a Bigram",
    ),
    "a recipe of words for a reward model": (
        lambda w: demonstrate(w, scalar(), params={}),
        r"SFT trains a model of words, and this one is a ScalarModel",
    ),
    "parameters that lack one": (
        lambda w: demonstrate(w, params=params_without_head()),
        r"the parameters do not fit the model: head is missing: give those that this model drew or loaded",
    ),
    "parameters of another vocabulary": (
        lambda w: demonstrate(w, model_of(vocab_size=16), params=of_one_device()),
        r"embedding has shape \(8, 8\) where the model has \(16, 8\); head has shape",
    ),
    "adapters that the model has not": (
        lambda w: demonstrate(w, params=of_one_device() | {"adapters": {"up": {"a": np.zeros(1)}}}),
        r"adapters.up.a is unexpected: give .* `model.adapt` of them where it has adapters",
    ),
    "parameters on other devices": (
        lambda w: demonstrate(w, model_of(data=2), params=of_one_device()),
        r"embedding lies on 1 other devices than the mesh's",
    ),
    "a group without room for a sample": (
        lambda w: practise(w, recipe=remax.ReMax(), group_size=1),
        r"group_size=1 leaves no sample beside 1 greedy and 0 given completion\(s\): take at least 2",
    ),
    "given completions that nobody gave": (
        lambda w: practise(w, recipe=grao.GRAO()),
        r"GRAO wants 1 given completion\(s\) in each group and the data have no column 'given': add it",
    ),
    "a given completion longer than its room": (
        lambda w: prompts.give(
            prompts.encode(ROWS, fields.PromptFields(), WORDS, LIMITS)[0], [[[4, 5, 2]]] * len(ROWS), width=2
        ),
        r"the given completion of row 0 has 3 tokens and there is room for 2: shorten it",
    ),
    "a selection that never asks": (
        lambda w: selection.Refill(SPREAD, max_rounds=0),
        r"max_rounds=0 never asks: take at least 1",
    ),
    "a replay of nothing": (
        lambda w: replay.Replay(SPREAD, capacity=0, max_age=1),
        r"capacity=0 rows and max_age=1 steps must be at least 1",
    ),
    "old completions taken for new ones": (
        lambda w: practise(w, selection=replay.Replay(SPREAD, capacity=8, max_age=2)),
        r"replays completions of earlier steps, which GRPO would take for the policy's own of today: hold it",
    ),
    "a dialogue of no turn": (
        lambda w: turn.Turns(host.Host(replies, workers=0, timeout_s=1.0), limit=0, output_tokens=4),
        r"limit=0 turns say nothing: allow at least 1",
    ),
    "a dialogue without room for replies": (
        lambda w: turn.Turns(host.Host(replies, workers=0, timeout_s=1.0), limit=2, output_tokens=0),
        r"output_tokens=0 leave a reply no room: allow at least 1",
    ),
    "tools without a worker": (
        lambda w: host.Host(replies, workers=-1, timeout_s=1.0),
        r"workers=-1 must not be negative and timeout_s=1.0 must be above 0",
    ),
    "a toolbox without tools": (lambda w: toolbox.Toolbox({}), r"a toolbox of 0 tools and 8 calls a turn is of no use"),
    "a judge without members": (
        lambda w: judging.Judge(scalar(), (), WORDS, ensemble.mean),
        r"a judge without members says nothing: give the parameters of at least one reward model",
    ),
    "a teacher of another vocabulary": (
        lambda w: taught(w, gkd.GKD(), teacher=vocabulary.characters("abcde")),
        r"teacher.*tokenizer|tokenizer.*teacher",
    ),
    "a teacher of fewer positions": (
        lambda w: taught(w, gkd.GKD(), positions=7, teacher=WORDS),
        r"prompts of 4 and completions of 4 tokens exceed the 7 positions",
    ),
    "no entries of a teacher": (
        lambda w: entries.Writer(w.folder, alike(1), count=0),
        r"0 entries of each token say nothing: store at least 1",
    ),
    "a disk without room for a teacher's entries": (
        lambda w: small_disk(w, lambda: entries.Writer(w.folder, alike(1), count=999)),
        r"999 entries of 16 tokens take .* GiB and the disk of .* has 9.31e-07 GiB free: store fewer, make room, or",
    ),
    "a teacher whom nobody asks": (
        lambda w: taught(w, sft.SFT(), teacher=WORDS),
        r"SFT compares with no model: leave \['teacher'\] out",
    ),
    "a teacher's entries of other data": (
        stored_of_others,
        r"the entries of .* belong to 16 other tokens than these 48: take the same data, tokenizer and",
    ),
}
"""Parts that cannot be meant, or do not go together, likewise."""

FIRST = {
    "columns that nobody reads": (
        lambda w: demonstrate(w, rows=alike(2, scores=np.ones(2, np.float32)), recipe=dpo.DPO()),
        r"DPO reads no columns, and the data have scores: leave them out of the fields",
    ),
    "a recipe of values without a critic": (
        lambda w: practise(w, recipe=ppo.PPO()),
        r"a critic is needed, and the model has none: give one whose token_stats hold values",
    ),
    "learned masks without a model of them": (
        lambda w: demonstrate(w, rows=alike(2), recipe=sparse_po.SparsePO()),
        r"SparsePO reads masks of tokens: train a models.token_mask.Masked",
    ),
    "single completions for a recipe of pairs": (
        lambda w: demonstrate(w, recipe=dpo.DPO()),
        r"DPO wants \(chosen, rejected\) in every row, not 1 completions",
    ),
    "labels that nobody gave": (
        lambda w: demonstrate(w, recipe=kto.KTO()),
        r"KTO reads the column 'desirable' of the data, which have none: add it",
    ),
    "a comparison without a teacher": (
        lambda w: taught(w, gkd.GKD()),
        r"a comparison names the model 'teacher' and there is none: pass it as well",
    ),
    "turns where there are none": (
        lambda w: practise(w, recipe=gigpo.GiGPO()),
        r"GiGPO credits the parts of completions, and this rollout has none: sample from an environment",
    ),
    "more prompts than a recipe remembers": (
        lambda w: practise(w, recipe=dcpo.DCPO(prompts=2)),
        r"DCPO remembers 2 prompts and the data hold row \d+: set its `prompts` to the number of rows of the data",
    ),
    "sampling that does not fit into memory": (
        lambda w: squeezed(w, practise, 0),
        r"sampling does not fit into memory: beside .* GiB of arguments it needs .* of 16 GiB are free: use more micro",
    ),
    "scoring that does not fit into memory": (
        lambda w: squeezed(w, practise, 1),
        r"the scoring pass does not fit into memory",
    ),
    "an update that does not fit into memory": (
        lambda w: squeezed(w, demonstrate, 0),
        r"the update does not fit into memory: .* a mesh that cuts the parameters .*or LoRA",
    ),
    "a sampler that is not the policy": (
        lambda w: practise(w, model_of(Crooked), recipe=grpo.GRPO(kl_coef=0.0)),
        r"sampler and trainer disagree .*: give both the same temperature, precision and weights",
    ),
    "a policy that does not start at its reference (preferences)": (
        lambda w: (w.patch.setattr(reference, "copy", moved), prefer(w)),
        r"policy and reference differ by up to .* nats before the first update: start the run with the reference's",
    ),
    "a policy that does not start at its reference (rewards)": (
        lambda w: (w.patch.setattr(reference, "copy", moved), practise(w)),
        r"policy and reference differ by up to .* nats before the first update",
    ),
    "rewards that are all the same": (
        lambda w: practise(w, reward=lambda one: 1.0),
        r"all 16 rewards of the first batch are 1, from which nothing can be learned: use an easier task",
    ),
    "groups of one": (
        lambda w: practise(w, group_size=1),
        r"all advantages of the first batch are 0 with a group_size of 1, .* compare at least two completions",
    ),
    "groups of one for a recipe of pairs": (
        lambda w: practise(w, group_size=1, recipe=online_preference.OnlinePreference()),
        r"no completion of the first batch, 1 of each prompt, is compared with another, .*: draw at least two of each",
    ),
    "NaN in the parameters (demonstrations)": (
        lambda w: demonstrate(w, params=spoilt_params()),
        r"the parameter head holds NaN or infinite numbers: start from another checkpoint",
    ),
    "NaN in the parameters (rewards)": (
        lambda w: practise(w, params=spoilt_params(), recipe=grpo.GRPO(kl_coef=0.0)),
        r"the parameter head holds NaN or infinite numbers: start from another checkpoint",
    ),
    "NaN in the loss": (
        lambda w: demonstrate(w, recipe=Exploding()),
        r"step 1: loss or gradient is not finite, so the update was left out: lower the learning rate.* as of step 0",
    ),
    "NaN in all rewards": (
        lambda w: practise(w, reward=lambda one: float("nan")),
        r"step 1: no completion was scored \(no reward applied\).* as of step 0",
    ),
    "a run with another reference": (
        lambda w: (prefer(w), prefer(w, params=moved(of_one_device()), steps=3)),
        r"holds a run with ref of checksum \w+, and this one has of checksum .*: go on with the same, or give another",
    ),
    "a run of another method and version": (
        other_version,
        r"holds a run with objective SFT\(\), and this one has DPO\(.*versions 0\.0\.1 and .*: go on with the same, or",
    ),
}
"""What the first step shows, or a run that is there already: nothing was learned from it."""


@pytest.fixture(scope="module")
def drawn():
    """What draws a model's first parameters is compiled."""
    model_of().init(jax.random.key(0))


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("case", BEFORE | PARTS)
def test_what_can_be_known_is_refused_in_a_sentence_before_anything_is_compiled(tmp_path, monkeypatch, compiled, case):
    produce, sentence = (BEFORE | PARTS)[case]
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        produce(World(tmp_path, monkeypatch))
    assert not compiled
    assert not [*tmp_path.rglob("checkpoints"), *tmp_path.rglob("run.json")]


@pytest.mark.parametrize("case", FIRST)
def test_the_first_step_refuses_in_a_sentence(tmp_path, monkeypatch, case):
    produce, sentence = FIRST[case]
    with pytest.raises((ValueError, RuntimeError), match=sentence):
        produce(World(tmp_path, monkeypatch))


def test_nan_in_some_rewards_is_left_out(tmp_path, monkeypatch):
    some = lambda one: float("nan") if "a" in one.completion else len(one.completion)  # noqa: E731
    assert int(practise(World(tmp_path, monkeypatch), reward=some).step) == 2


def test_a_tokenizer_whose_pad_is_eos_trains_the_same(tmp_path, monkeypatch):
    same = dataclasses.replace(WORDS, pad_id=WORDS.eos_id)
    states = [
        demonstrate(World(tmp_path / name, monkeypatch), words=words) for name, words in (("a", WORDS), ("b", same))
    ]
    for one, two in zip(*(jax.tree.leaves(state.params) for state in states), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_disk_that_fills_up_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    world, model = World(tmp_path, monkeypatch), model_of(vocab_size=2048)
    whole = demonstrate(dataclasses.replace(world, folder=tmp_path / "whole"), model, steps=4)
    demonstrate(world, model)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        told = r"checkpoint of step 3 could not be written .*make room in .*the same command goes on from step 2"
        with pytest.raises(RuntimeError, match=told):
            demonstrate(world, model, steps=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "2" in os.listdir(tmp_path / "run" / "checkpoints")
    again = demonstrate(world, model, steps=4)
    for one, two in zip(jax.tree.leaves(whole.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(one, two)
