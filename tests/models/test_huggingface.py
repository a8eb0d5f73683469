import dataclasses
import json
import shutil
from pathlib import Path

import chex
import huggingface_hub.errors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from posttrain_jax.models import (
    config,
    huggingface,
    language_model,
    safetensors_folder,
    sharding,
    tokenizer,
    vocabulary,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
CUBE = {"data": 2, "fsdp": 2, "tensor": 2}


def make(family, mesh=None, **compute):
    mesh = sharding.make_mesh(**(mesh or {}))
    return language_model.LanguageModel(huggingface.load_config(FIXTURES / family), config.Compute(**compute), mesh)


def tensors(folder):
    found = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        found |= safetensors.numpy.load_file(path)
    return found


def changed(tmp_path, family, change, **entries):
    """A copy of the fixture with other tensors, and other entries in its config."""
    folder = tmp_path / family
    folder.mkdir()
    found = tensors(FIXTURES / family)
    change(found)
    safetensors.numpy.save_file(found, folder / "model.safetensors")
    old = json.loads((FIXTURES / family / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(old | entries))
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_transposed_and_stacked(family):
    params, raw = huggingface.load_params(FIXTURES / family, make(family)), tensors(FIXTURES / family)
    np.testing.assert_array_equal(params["embedding"], raw["model.embed_tokens.weight"])
    np.testing.assert_array_equal(params["blocks"]["key"][1], raw["model.layers.1.self_attn.k_proj.weight"].T)
    np.testing.assert_array_equal(params["blocks"]["down"][0], raw["model.layers.0.mlp.down_proj.weight"].T)
    np.testing.assert_array_equal(
        params["blocks"]["mlp_norm"][1], raw["model.layers.1.post_attention_layernorm.weight"]
    )
    assert sum(x.size for x in jax.tree.leaves(params)) == sum(x.size for x in raw.values())
    assert ("head" in params) == (family != "qwen2")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sharded_model_loads_and_saves_the_same_values(family, tmp_path):
    model = make(family, CUBE)
    params = huggingface.load_params(FIXTURES / family, model)
    chex.assert_trees_all_equal(jax.device_get(params), huggingface.load_params(FIXTURES / family, make(family)))
    jax.tree.map(lambda x, s: chex.assert_equal(x.sharding, s), params, model.shardings())
    huggingface.save(tmp_path / "out", model.config, params)
    chex.assert_trees_all_equal(tensors(tmp_path / "out"), tensors(FIXTURES / family))
    assert huggingface.load_config(tmp_path / "out") == model.config


def test_each_element_is_read_from_disk_once(monkeypatch):
    read = []
    plain = safetensors_folder.Tensor.__getitem__

    def spy(self, index):
        part = plain(self, index)
        read.append(part.size)
        return part

    monkeypatch.setattr(safetensors_folder.Tensor, "__getitem__", spy)
    params = huggingface.load_params(FIXTURES / "qwen3", make("qwen3", CUBE))
    assert sum(read) == sum(x.size for x in jax.tree.leaves(params))
    # A matrix of a layer lies in 2 x 2 parts; the largest part is the embedding's quarter.
    assert max(read) == 96 * 32 // 4


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_bfloat16_checkpoints(family, tmp_path):
    model = make(family, CUBE, param_dtype=jnp.bfloat16)
    params = huggingface.load_params(FIXTURES / family, model)
    expected = jax.tree.map(lambda x: x.astype(jnp.bfloat16), huggingface.load_params(FIXTURES / family, make(family)))
    chex.assert_trees_all_equal(jax.device_get(params), expected)
    huggingface.save(tmp_path / "out", model.config, params)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert {x.dtype for x in tensors(tmp_path / "out").values()} == {np.dtype(jnp.bfloat16)}
    wide = huggingface.load_params(tmp_path / "out", make(family))
    chex.assert_trees_all_equal(wide, jax.tree.map(lambda x: x.astype(jnp.float32), expected))


def test_large_models_are_written_in_several_files(tmp_path):
    model = make("llama")
    params = huggingface.load_params(FIXTURES / "llama", model)
    huggingface.save(tmp_path / "out", model.config, params, file_bytes=30_000)
    files = sorted(tmp_path.glob("out/*.safetensors"))
    assert len(files) > 3
    assert max(path.stat().st_size for path in files) < 30_000 + 4_000  # the header
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    raw = tensors(FIXTURES / "llama")
    assert index["weight_map"].keys() == raw.keys()
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in raw.values())
    chex.assert_trees_all_equal(huggingface.load_params(tmp_path / "out", model), params)
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {files[1].name}, which its index lists"):
        huggingface.load_params(tmp_path / "out", model)


NORM = "model.layers.1.input_layernorm.weight"


def test_every_fault_is_named_in_one_message(tmp_path):
    def change(found):
        del found["model.norm.weight"]
        found["model.layers.9.mlp.up_proj.weight"] = np.zeros((2, 2), np.float32)
        found[NORM] = np.zeros((7,), np.float32)
        found["model.layers.0.mlp.up_proj.weight"] = np.zeros((64, 32), np.int8)
        found["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros((4,), np.float32)

    folder = changed(tmp_path, "llama", change)
    with pytest.raises(ValueError, match="does not fit its config") as caught:
        huggingface.load_params(folder, make("llama"))
    message = str(caught.value)
    assert "model.norm.weight is missing" in message
    assert "model.layers.9.mlp.up_proj.weight is unexpected" in message
    assert f"{NORM} has shape [7] where the config needs [32]" in message
    assert "model.layers.0.mlp.up_proj.weight is I8" in message
    assert message.count(";") == 3  # the rotary buffer is ignored, and nothing else is at fault


def test_each_tensor_is_needed(tmp_path):
    everything = tensors(FIXTURES / "qwen2")
    folder = changed(tmp_path, "qwen2", dict.clear)
    with pytest.raises(ValueError, match="is missing") as caught:
        huggingface.load_params(folder, make("qwen2"))
    assert all(f"{name} is missing" in str(caught.value) for name in everything)


def test_a_tied_head_may_be_stored_if_it_is_the_embedding(tmp_path):
    def same(found):
        found["lm_head.weight"] = found["model.embed_tokens.weight"].copy()

    def other(found):
        same(found)
        found["lm_head.weight"][95, 31] += 1

    for name, change in (("same", same), ("other", other)):
        (tmp_path / name).mkdir()
        changed(tmp_path / name, "qwen2", change)
    params = huggingface.load_params(tmp_path / "same" / "qwen2", make("qwen2"))
    assert "head" not in params
    with pytest.raises(ValueError, match=r"lm_head\.weight differs from the embedding"):
        huggingface.load_params(tmp_path / "other" / "qwen2", make("qwen2"))


def test_an_untied_model_needs_its_head(tmp_path):
    folder = changed(tmp_path, "qwen2", lambda found: None, tie_word_embeddings=False)
    model = dataclasses.replace(make("qwen2"), config=huggingface.load_config(folder))
    with pytest.raises(ValueError, match=r"lm_head\.weight is missing"):
        huggingface.load_params(folder, model)


def test_folders_without_weights_or_config(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        huggingface.load_config(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(FileNotFoundError, match=r"holds neither model\.safetensors nor"):
        huggingface.load_params(tmp_path, make("llama"))


def test_saving_never_destroys_and_never_leaves_half_a_folder(tmp_path, monkeypatch):
    model = make("qwen2")
    params = huggingface.load_params(FIXTURES / "qwen2", model)
    folder = tmp_path / "deep" / "out"
    huggingface.save(folder, model.config, params)
    (folder / "old.txt").touch()
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        huggingface.save(folder, model.config, params)

    def fail(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.numpy, "save_file", fail)
        with pytest.raises(OSError, match="disk full"):
            huggingface.save(folder, model.config, params, overwrite=True)
    assert (folder / "old.txt").exists()
    huggingface.save(folder, model.config, params, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    shutil.rmtree(folder)
    folder.mkdir()  # an empty folder is free
    huggingface.save(folder, model.config, params)


def test_saved_special_ids(tmp_path):
    model = make("qwen2")
    params = huggingface.load_params(FIXTURES / "qwen2", model)
    small = vocabulary.characters("abc ")
    huggingface.save(tmp_path / "with", model.config, params, small)
    huggingface.save(tmp_path / "without", model.config, params)
    entries = json.loads((tmp_path / "with" / "config.json").read_text())
    assert (entries["bos_token_id"], entries["eos_token_id"], entries["pad_token_id"]) == (1, 2, 0)
    generation = json.loads((tmp_path / "with" / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": [2], "pad_token_id": 0}
    assert tokenizer.load(tmp_path / "with").encode("cab") == small.encode("cab")
    # null, not absent: transformers would take 1 and 2 of some other vocabulary
    assert json.loads((tmp_path / "without" / "config.json").read_text())["eos_token_id"] is None
    with pytest.raises(ValueError, match="103 ids and the model 96"):
        huggingface.save(tmp_path / "big", model.config, params, vocabulary.characters())
    assert not (tmp_path / "big").exists()


def test_resolve(tmp_path, monkeypatch):
    assert huggingface.resolve(str(tmp_path)) == tmp_path

    def found(name, **_):
        assert name == "owner/model"
        return str(tmp_path)

    def offline(name, **_):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", found)
    assert huggingface.resolve("owner/model") == tmp_path
    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(FileNotFoundError, match=r"'owner/model' is no folder here .* \(no connection\); give"):
        huggingface.resolve("owner/model")
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match="'no such name' is no folder"):
        huggingface.resolve("no such name")
