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

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, prompts, source
from posttrain_jax.models import config, pretrained, sharding, tokenizer, vocabulary
from posttrain_jax.recipes.likelihood import sft
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.recipes.preference import dpo
from posttrain_jax.rewards import combine, exact_match, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import capacity, offline, online, optimizer, provenance, reference, run

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


def encoded(rows=ROWS, *, read=READ, words=WORDS, limits=LIMITS):
    return demonstrations.encode(rows, read, words, limits)[0]


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


def practise(world, model=None, *, reward=length, recipe=None, stops=WORDS.stop_ids, tokens=None, params=None, **more):
    """Train on rewards."""
    model = model or model_of()
    rows, _ = prompts.encode(ROWS, fields.PromptFields(), WORDS, LIMITS)
    if tokens is not None:
        spoilt = dataclasses.replace(rows[0].tokens, prompt=np.asarray(tokens, np.int32))
        rows = [dataclasses.replace(row, tokens=spoilt) for row in rows]
    data = iterate.Batches(rows, prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0)
    sampling = sample.Sampling(max_new_tokens=4, stop_ids=stops, pad_id=WORDS.pad_id)
    with pool.RewardPool(combine.WeightedRewards({"mine": (1.0, reward)}), workers=0, timeout_s=1.0) as rewards:
        parts = online.Online(
            model, recipe or grpo.GRPO(), adamw(), WORDS, data, rewards, sampling, more.pop("group_size", 4)
        )
        plan = run.Plan(**{"folder": world.folder / "run", "steps": 2} | more)
        start = model.init(jax.random.key(0)) if params is None else params
        return online.run_online(parts, plan, start)


def prefer(world, **more):
    """Train on preferences."""
    row = encode.TokenRow(np.asarray([1, 3]), (np.asarray([4, 2]), np.asarray([5, 2])), 0)
    return demonstrate(world, rows=[row] * 8, recipe=dpo.DPO(), **more)


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


def small_disk(world):
    usage = shutil.disk_usage("/")._replace(free=1000)
    world.patch.setattr(shutil, "disk_usage", lambda _: usage)
    return demonstrate(world)


def read_only(world):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    world.patch.setattr(pathlib.Path, "mkdir", refuse)
    return demonstrate(world)


def a_file_there(world):
    return demonstrate(world, folder=pathlib.Path(world.write("taken", "")))


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
        r"data=3 x tensor=1 does not divide the 8 devices.*choose divisors, or say fsdp to use fewer",
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
    "an output folder that is a file": (
        a_file_there,
        r"the folder .*taken cannot be written to \(File exists\): give another one, or mend its permissions",
    ),
    "an output folder without permission": (read_only, r"cannot be written to \(Permission denied\): give another one"),
    "a disk without room for checkpoints": (
        small_disk,
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

FIRST = {
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
@pytest.mark.parametrize("case", BEFORE)
def test_what_can_be_known_is_refused_in_a_sentence_before_anything_is_compiled(tmp_path, monkeypatch, compiled, case):
    produce, sentence = BEFORE[case]
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        produce(World(tmp_path, monkeypatch))
    assert not compiled


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
