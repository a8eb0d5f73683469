import dataclasses
import json
from pathlib import Path

import pytest

from posttrain_jax.models import config, huggingface_config

FIXTURES = Path(__file__).parents[1] / "fixtures"


def entries(family, **changes):
    return json.loads((FIXTURES / family / "config.json").read_text()) | changes


# As published; what does not concern the architecture is left in, to see that it is let through.
LLAMA_3_2_1B = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0.dev0",
    "use_cache": True,
    "vocab_size": 128256,
}
QWEN_2_5_05B = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def test_published_llama():
    model = huggingface_config.parse(LLAMA_3_2_1B)
    assert model == config.ModelConfig(
        vocab_size=128256,
        hidden_size=2048,
        num_layers=16,
        num_heads=32,
        num_kv_heads=8,
        head_dim=64,
        mlp_size=8192,
        norm_eps=1e-5,
        rope_theta=500000.0,
        max_position=131072,
        rope_scaling=config.Llama3Scaling(32.0, 1.0, 4.0, 8192),
        tie_embeddings=True,
    )


def test_published_qwen():
    model = huggingface_config.parse(QWEN_2_5_05B)
    assert (model.head_dim, model.num_kv_heads, model.tie_embeddings) == (64, 2, True)
    assert (model.attention_bias, model.output_bias, model.qk_norm) == (True, False, False)
    assert model.sliding_window is None


def test_old_and_new_rotary_layouts_agree():
    new = entries("llama")
    scaling = dict(new.pop("rope_parameters"))
    theta = scaling.pop("rope_theta")
    old = {**new, "rope_theta": theta, "rope_scaling": scaling}
    oldest = {**old, "rope_scaling": {**scaling, "type": scaling["rope_type"]}}
    del oldest["rope_scaling"]["rope_type"]
    models = {huggingface_config.parse(layout) for layout in (entries("llama"), old, oldest)}
    assert len(models) == 1
    linear = {**new, "rope_theta": theta, "rope_scaling": {"type": "linear", "factor": 2}}
    assert huggingface_config.parse(linear).rope_scaling == config.LinearScaling(2.0)


def test_absent_keys_mean_what_transformers_takes_them_for():
    bare = {key: LLAMA_3_2_1B[key] for key in ("model_type", *huggingface_config.REQUIRED)}
    model = huggingface_config.parse(bare)
    assert (model.num_kv_heads, model.head_dim, model.norm_eps, model.rope_theta) == (32, 64, 1e-6, 10000.0)
    assert not model.tie_embeddings
    mistral = huggingface_config.parse(bare | {"model_type": "mistral"})
    assert (mistral.num_kv_heads, mistral.sliding_window) == (8, 4096)
    qwen = huggingface_config.parse(bare | {"model_type": "qwen3"})
    assert (qwen.head_dim, qwen.sliding_window, qwen.qk_norm) == (128, None, True)


def test_sliding_windows_of_qwen():
    window = {"use_sliding_window": True, "sliding_window": 7, "layer_types": None}
    assert huggingface_config.parse(entries("qwen3", **window, max_window_layers=0)).sliding_window == 7
    assert huggingface_config.parse(entries("qwen3", **window, max_window_layers=2)).sliding_window is None
    kinds = {**window, "layer_types": ["sliding_attention"] * 2}
    assert huggingface_config.parse(entries("qwen3", **kinds)).sliding_window == 7


@pytest.mark.parametrize(
    ("family", "change", "sentence"),
    [
        ("llama", {"model_type": "gpt2"}, "model_type 'gpt2' is not supported; use .* llama, mistral, qwen2, qwen3"),
        ("llama", {"hidden_size": None}, "does not say hidden_size"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ("llama", {"attention_dropout": 0.1}, "attention_dropout is 0.1"),
        ("llama", {"quantization_config": {"quant_method": "gptq"}}, r"quantised \(gptq\)"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "Rotary scaling 'yarn'"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, "Rotary scaling 'dynamic'"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "Rotary scaling 'longrope'"),
        ("llama", {"rope_parameters": {"rope_type": "linear"}}, "'linear' lacks factor"),
        ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "both rope_scaling and rope_parameters"),
        ("llama", {"sliding_window": 64}, "sliding_window = 64, which would not be computed"),
        ("llama", {"logit_scale": 0.5}, "logit_scale = 0.5, which would not be computed"),
        ("llama", {"hidden_size": "64"}, "config.json says hidden_size = '64', which is no integer: write it as one"),
        ("llama", {"num_hidden_layers": 2.0}, "num_hidden_layers = 2.0, which is no integer"),
        ("llama", {"rms_norm_eps": "1e-6"}, "rms_norm_eps = '1e-6', which is no number"),
        ("llama", {"tie_word_embeddings": "false"}, "tie_word_embeddings = 'false', which is no boolean"),
        ("llama", {"rope_parameters": "linear"}, "rope_parameters = 'linear', which is no object"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "factor": "2"}}, "factor = '2', which is no number"),
        ("llama", {"num_key_value_heads": 3}, "4 query heads do not share 3 key heads"),
        ("mistral", {"attention_bias": True}, "attention_bias = True"),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1, "layer_types": None},
            "2 of 3 layers have a sliding window",
        ),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "1 of 2 layers have a sliding window"),
    ],
)
def test_what_would_not_be_computed_is_refused(family, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        huggingface_config.parse(entries(family, **change))


def test_keys_that_are_off_pass():
    assert huggingface_config.parse(entries("llama", use_mrope=False, logit_scale=None)) == huggingface_config.parse(
        entries("llama")
    )


PLAIN = huggingface_config.parse(entries("mistral", sliding_window=None))


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("llama", {}),
        ("llama", {"attention_bias": True, "output_bias": True, "mlp_bias": True, "tie_embeddings": True}),
        ("llama", {"rope_scaling": config.Llama3Scaling(8.0, 1.0, 4.0, 64), "head_dim": 6}),
        ("llama", {"rope_scaling": config.LinearScaling(4.0)}),
        ("mistral", {"sliding_window": 5}),
        ("mistral", {"hidden_size": 30}),
        ("qwen2", {"attention_bias": True}),
        ("qwen2", {"attention_bias": True, "sliding_window": 3}),
        ("qwen3", {"qk_norm": True, "head_dim": 10}),
        ("qwen3", {"qk_norm": True, "attention_bias": True, "output_bias": True, "sliding_window": 9}),
    ],
)
def test_export_of_the_config_is_read_back_the_same(family, change):
    model = dataclasses.replace(PLAIN, **change)
    rendered = json.loads(json.dumps(huggingface_config.render(model)))
    assert rendered["model_type"] == family
    assert huggingface_config.parse(rendered) == model


@pytest.mark.parametrize(
    "change",
    [
        {"output_bias": True},
        {"mlp_bias": True, "sliding_window": 4},
        {"qk_norm": True, "mlp_bias": True},
        {"qk_norm": True, "attention_bias": True},
    ],
)
def test_what_no_family_computes_is_not_exported(change):
    with pytest.raises(ValueError, match="No Hugging Face family"):
        huggingface_config.render(dataclasses.replace(PLAIN, **change))
