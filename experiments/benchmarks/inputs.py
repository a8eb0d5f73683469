"""What the benchmarks run on: a randomly initialised decoder of any size, and random tokens."""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.models import config, language_model, platform, sharding


@dataclasses.dataclass(frozen=True)
class Model:
    """A randomly initialised decoder; the defaults are a Llama of 8.5 million parameters."""

    vocab_size: int = 8192
    hidden_size: int = 256
    num_layers: int = 6
    num_heads: int = 8
    num_kv_heads: int = 4
    head_dim: int = 32
    mlp_size: int = 680
    tie_embeddings: bool = False
    attention_bias: bool = False
    """Of query, key and value, as in Qwen 2."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of matmul operands."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    head_chunk: int = 256
    """Tokens whose logits exist at one time."""

    def build(self, rows: int) -> language_model.LanguageModel:
        """The model, on as many devices as share `rows` evenly (of a CPU, JAX_NUM_CPU_DEVICES says how many it has)."""
        sizes = {name: value for name, value in vars(self).items() if name in config.ModelConfig.__dataclass_fields__}
        shape = config.ModelConfig(norm_eps=1e-6, rope_theta=1e4, max_position=32768, **sizes)
        compute = config.Compute(self.dtype, self.param_dtype, head_chunk=self.head_chunk)
        mesh = sharding.make_mesh(data=math.gcd(rows, jax.device_count()))
        return language_model.LanguageModel(shape, compute, mesh, attend=platform.attention_of(mesh))


def random_groups(model: Model, rows: int, group_size: int, prompt_len: int, completion_len: int) -> types.Groups:
    """Random token ids, every sequence full."""
    random, shape = np.random.default_rng(0), (rows, group_size, completion_len)
    return types.Groups(
        prompts=jnp.asarray(random.integers(4, model.vocab_size, (rows, prompt_len)), jnp.int32),
        prompt_lengths=jnp.full(rows, prompt_len, jnp.int32),
        completions=jnp.asarray(random.integers(4, model.vocab_size, shape), jnp.int32),
        completion_lengths=jnp.full(shape[:2], completion_len, jnp.int32),
        completion_mask=jnp.ones(shape, bool),
        group_ids=jnp.arange(rows, dtype=jnp.int32),
    )
