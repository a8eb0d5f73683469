import pathlib

import chex
import jax
import pytest

from posttrain_jax.models import config, huggingface, language_model, lora, pretrained, sharding, vocabulary

FIXTURE = pathlib.Path(__file__).parents[1] / "fixtures" / "qwen3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with its tokenizer."""
    path = tmp_path_factory.mktemp("model") / "tiny"
    words = vocabulary.characters("ab ")
    shape = config.miniature(words.vocab_size, hidden_size=64, num_layers=1)
    model = language_model.LanguageModel(shape, config.Compute(), sharding.make_mesh())
    huggingface.save(path, shape, model.init(jax.random.key(0)), words)
    return path


def test_a_checkpoint_opens_with_model_parameters_and_tokenizer(folder):
    checkpoint = pretrained.Checkpoint(str(folder), param_dtype="bfloat16", mesh=sharding.MeshShape(fsdp=2))
    start = checkpoint.load()
    assert start.model.config == huggingface.load_config(folder)
    assert start.model.mesh.shape["fsdp"] == 2
    assert start.tokenizer.decode(start.tokenizer.encode("ab b")) == "ab b"
    assert {x.dtype.name for x in jax.tree.leaves(start.params)} == {"bfloat16"}
    chex.assert_trees_all_equal_shapes(start.params, start.model.abstract_params())


def test_adapters_join_and_are_merged_when_the_model_is_written(folder, tmp_path):
    place = {"mesh": sharding.MeshShape(fsdp=1)}
    start = pretrained.Checkpoint(str(folder), lora=lora.Lora(2, projections=("up",)), **place).load()
    trained = {lora.ADAPTERS: jax.tree.map(lambda x: x + 1, start.params[lora.ADAPTERS])}
    start.save(tmp_path / "out", trained)
    plain = pretrained.Checkpoint(str(tmp_path / "out"), **place).load()
    chex.assert_trees_all_equal(plain.params, start.model.merge(start.params | trained))
    assert float(abs(plain.params["blocks"]["up"] - start.params["blocks"]["up"]).max()) > 1
    with pytest.raises(ValueError, match="the parameters hold adapters, which no such folder does: merge them"):
        huggingface.save(tmp_path / "other", start.model.config, start.params)


def test_a_tokenizer_beyond_the_vocabulary_is_refused(folder, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    vocabulary.characters("abcdefgh").save(tmp_path)
    with pytest.raises(ValueError, match="tokenizer has 11 ids and the model 6"):
        pretrained.Checkpoint(str(tmp_path), mesh=sharding.MeshShape(fsdp=1)).load()


def test_a_mesh_shape_takes_the_devices_that_are_left():
    assert dict(sharding.MeshShape(data=2, tensor=2).build().shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    assert dict(sharding.MeshShape(fsdp=3).build().shape) == {"data": 1, "fsdp": 3, "tensor": 1}
    with pytest.raises(ValueError, match="needs 16 devices and there are 8"):
        sharding.MeshShape(data=16, fsdp=1).build()
    with pytest.raises(ValueError, match="data=3 x tensor=1 does not divide the 8 devices"):
        sharding.MeshShape(data=3).build()
    for data in (0, 16):
        with pytest.raises(
            ValueError, match=f"data={data} .*needs {data} devices and there are 8.*JAX_NUM_CPU_DEVICES"
        ):
            sharding.MeshShape(data=data).build()
