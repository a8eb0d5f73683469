import json

import chex
import jax
import numpy as np
import pytest
import safetensors.numpy

from posttrain_jax.models import classifier, config, scalar_model, sharding, vocabulary
from tests.models import tiny

WORDS = vocabulary.characters("".join(map(chr, range(97, 123))))


@pytest.mark.parametrize(("bias", "kind"), [(False, "ForSequenceClassification"), (True, "ForTokenClassification")])
def test_a_classifier_comes_back_as_it_was_saved(tmp_path, bias, kind):
    model = scalar_model.ScalarModel(tiny.model(output_bias=True), size=3, bias=bias)
    params = model.init(jax.random.key(0), spread=0.5)
    classifier.Classifier(model, params, WORDS).save(tmp_path / "out", params)
    told = json.loads((tmp_path / "out" / "config.json").read_text())
    assert told["architectures"] == [f"Qwen3{kind}"]
    assert len(told["id2label"]) == 3
    tensors = safetensors.numpy.load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(tensors["score.weight"], np.asarray(params["score"]).T)
    assert ("score.bias" in tensors) == bias
    assert "lm_head.weight" not in tensors
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    back = classifier.load(tmp_path / "out", config.Compute(), mesh)
    assert (back.model.size, back.model.bias, back.model.config) == (3, bias, model.config)
    chex.assert_trees_all_equal(jax.device_get(back.params), jax.device_get(params))


def test_what_is_no_classifier_is_refused(tmp_path):
    gated = scalar_model.ScalarModel(tiny.model(), gates=1)
    with pytest.raises(ValueError, match="no Hugging Face classifier has a gate"):
        classifier.entries(gated)
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen3ForCausalLM"]}))
    with pytest.raises(ValueError, match="holds Qwen3ForCausalLM, which is no classifier"):
        classifier.load(tmp_path, config.Compute(), sharding.make_mesh())
