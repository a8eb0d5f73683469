"""Folders of adapters: PEFT's names and shapes, there and back, and what is refused."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from posttrain_jax.models import adapter_folder, lora, sharding
from tests.models import tiny

LAYER = "base_model.model.model.layers.1."


@pytest.fixture(scope="module")
def model():
    return dataclasses.replace(tiny.model(), lora=lora.Lora(3, alpha=6.0, projections=("query", "down")))


@pytest.fixture(scope="module")
def params(model):
    adapted = model.adapt(tiny.params(dataclasses.replace(model, lora=None)))
    moved = jax.tree.map(lambda x: x + 1 / 3, adapted[lora.ADAPTERS])
    return adapted | {lora.ADAPTERS: moved}


def test_names_and_shapes_are_those_of_peft(tmp_path, model, params):
    adapter_folder.save(tmp_path / "out", model, params, base="owner/base")
    tensors = safetensors.numpy.load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert len(tensors) == 2 * 2 * 2  # A and B, two projections, two layers
    shapes = {name.removeprefix(LAYER): x.shape for name, x in tensors.items() if name.startswith(LAYER)}
    assert shapes == {
        "self_attn.q_proj.lora_A.weight": (3, 32),
        "self_attn.q_proj.lora_B.weight": (32, 3),
        "mlp.down_proj.lora_A.weight": (3, 48),
        "mlp.down_proj.lora_B.weight": (32, 3),
    }
    a = np.asarray(params[lora.ADAPTERS]["down"]["a"])
    np.testing.assert_array_equal(tensors[LAYER + "mlp.down_proj.lora_A.weight"], a[1].T)
    entries = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    told = ("peft_type", "r", "lora_alpha", "use_rslora", "target_modules", "base_model_name_or_path", "task_type")
    assert [entries[name] for name in told] == [
        "LORA",
        3,
        6.0,
        False,
        ["q_proj", "down_proj"],
        "owner/base",
        "CAUSAL_LM",
    ]
    with pytest.raises(FileExistsError, match="say overwrite=True"):
        adapter_folder.save(tmp_path / "out", model, params)


@pytest.mark.parametrize(("power", "alpha", "stabilised"), [(1.0, 6.0, False), (0.5, 6.0, True), (0.0, 18.0, False)])
def test_there_and_back_onto_another_mesh(tmp_path, model, params, power, alpha, stabilised):
    model = dataclasses.replace(model, lora=dataclasses.replace(model.lora, rank_power=power))
    adapter_folder.save(tmp_path / "out", model, params)
    entries = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (entries["lora_alpha"], entries["use_rslora"]) == (alpha, stabilised)
    many = tiny.model(sharding.make_mesh(fsdp=2, tensor=2))
    base = jax.device_put(lora.base(params), many.shardings())
    found, again = adapter_folder.load(tmp_path / "out", many, base)
    assert found.lora.scale == pytest.approx(model.lora.scale, rel=1e-12)
    assert found.lora.projections == ("query", "down")
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(again), jax.device_get(params))
    jax.tree.map(lambda x, s: x.sharding.is_equivalent_to(s, x.ndim) or pytest.fail(f"{s}"), again, found.shardings())
    assert again["embedding"] is base["embedding"]


def test_what_does_not_fit_is_refused(tmp_path, model, params):
    adapter_folder.save(tmp_path, model, params, overwrite=True)
    plain, base = dataclasses.replace(model, lora=None), lora.base(params)
    wide = tiny.model(hidden_size=64)
    with pytest.raises(ValueError, match=r"q_proj.lora_A.weight has shape \[3, 32\] where the model needs \[3, 64\]"):
        adapter_folder.load(tmp_path, wide, base)
    with pytest.raises(ValueError, match=r"layers.2.self_attn.q_proj.lora_A.weight is missing; .*layers.2"):
        adapter_folder.load(tmp_path, tiny.model(num_layers=3), base)
    tensors = safetensors.numpy.load_file(tmp_path / adapter_folder.TENSORS)
    more = tensors | {"base_model.model.lm_head.lora_A.weight": np.zeros((3, 32), np.float32)}
    safetensors.numpy.save_file(more, tmp_path / adapter_folder.TENSORS)
    with pytest.raises(ValueError, match=r"lm_head.lora_A.weight is unexpected"):
        adapter_folder.load(tmp_path, plain, base)
    only = {name: x for name, x in more.items() if "lm_head" in name}
    safetensors.numpy.save_file(only, tmp_path / adapter_folder.TENSORS)
    with pytest.raises(ValueError, match="adapts none of query, key"):
        adapter_folder.load(tmp_path, plain, base)


@pytest.mark.parametrize(
    "change", [{"use_dora": True}, {"peft_type": "LOHA"}, {"bias": "all"}, {"rank_pattern": {"q": 2}}]
)
def test_another_method_is_refused(tmp_path, model, params, change):
    adapter_folder.save(tmp_path, model, params, overwrite=True)
    entries = json.loads((tmp_path / adapter_folder.CONFIG).read_text())
    (tmp_path / adapter_folder.CONFIG).write_text(json.dumps(entries | change))
    with pytest.raises(ValueError, match=r"is not plain LoRA .*merge those adapters with PEFT"):
        adapter_folder.load(tmp_path, model, lora.base(params))


def test_nothing_to_write_and_nothing_to_read_are_refused(tmp_path, model, params):
    with pytest.raises(ValueError, match="there are no adapters to write"):
        adapter_folder.save(tmp_path / "out", model, lora.base(params))
    with pytest.raises(FileNotFoundError, match=r"adapter_config.json does not exist"):
        adapter_folder.load(tmp_path, model, params)
