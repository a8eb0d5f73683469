import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.models import config

SMALL = config.ModelConfig(
    vocab_size=11,
    hidden_size=8,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=6,
    mlp_size=16,
    norm_eps=1e-6,
    rope_theta=1e4,
    max_position=64,
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_kv_heads": 3}, "4 query heads do not share 3 key heads"),
        ({"head_dim": 5}, "head_dim is 5"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"num_layers": -1}, "num_layers is -1"),
        ({"sliding_window": 0}, "sliding_window is 0"),
        ({"norm_eps": 0.0}, "norm_eps is 0"),
        ({"rope_theta": 0.5}, "rope_theta is 0.5"),
    ],
)
def test_an_impossible_architecture_is_refused_with_its_value(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: config.LinearScaling(factor=0.5), "factor is 0.5"),
        (lambda: config.Llama3Scaling(0.0, 1.0, 4.0, 8192), "factor is 0.0"),
        (lambda: config.Llama3Scaling(8.0, 4.0, 4.0, 8192), "low_freq_factor 4.0 and high_freq_factor 4.0"),
        (lambda: config.Llama3Scaling(8.0, 1.0, 4.0, 0), "original_max_position is 0"),
        (lambda: config.Compute(dtype=jnp.float16), "dtype is float16"),
        (lambda: config.Compute(param_dtype=jnp.int32), "param_dtype is int32"),
        (lambda: config.Compute(head_chunk=0), "head_chunk is 0"),
        (lambda: config.Compute(stored=("query", "scores")), "stored names scores; choose among query"),
    ],
)
def test_impossible_parts_are_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_configs_are_values_equal_and_hashable():
    assert hash(SMALL) == hash(dataclasses.replace(SMALL))
    assert dataclasses.replace(SMALL, sliding_window=4) != SMALL
    spellings = [config.Compute(dtype=dtype) for dtype in ("bfloat16", jnp.bfloat16, jnp.dtype(jnp.bfloat16))]
    assert len(set(spellings)) == 1
    assert config.Compute().param_dtype == np.float32
