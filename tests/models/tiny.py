"""A small model and small ragged groups for tests."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.models import config, language_model, sharding

CONFIG = config.ModelConfig(
    vocab_size=64,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    mlp_size=48,
    norm_eps=1e-6,
    rope_theta=10000.0,
    rope_scaling=None,
    tie_embeddings=False,
    attention_bias=True,
    output_bias=False,
    mlp_bias=False,
    qk_norm=True,
    sliding_window=None,
    max_position=256,
)


def model(
    mesh=None, *, dtype=jnp.float32, head_chunk=8, stored=config.PRODUCTS, **changes
) -> language_model.LanguageModel:
    """The small model on `mesh` (one device unless given), with changes to its architecture."""
    compute = config.Compute(dtype=dtype, param_dtype=jnp.float32, stored=stored, head_chunk=head_chunk)
    mesh = sharding.make_mesh() if mesh is None else mesh
    return language_model.LanguageModel(dataclasses.replace(CONFIG, **changes), compute, mesh)


def groups(seed=0, *, P=4, S=7, G=3, T=6, vocab=64, lengths=None, completion_lengths=None) -> types.Groups:
    """Random groups; ragged, with an empty completion, unless lengths are given."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, S + 1, P) if lengths is None else np.asarray(lengths)
    ends = rng.integers(0, T + 1, (P, G)) if completion_lengths is None else np.asarray(completion_lengths)
    return types.Groups(
        prompts=jnp.asarray(rng.integers(0, vocab, (P, S)), jnp.int32),
        prompt_lengths=jnp.asarray(lengths, jnp.int32),
        completions=jnp.asarray(rng.integers(0, vocab, (P, G, T)), jnp.int32),
        completion_lengths=jnp.asarray(ends, jnp.int32),
        completion_mask=jnp.asarray(np.arange(T) < ends[..., None]),
        group_ids=jnp.arange(P, dtype=jnp.int32),
    )


def params(model: language_model.LanguageModel, seed=0):
    """Random parameters with norms and biases that matter, the same on every mesh; nothing is compiled for them."""
    rng = np.random.default_rng(seed)

    def one(path, like):
        name, noise = path[-1].key, rng.normal(size=like.shape)
        if name.endswith("norm"):
            noise = 1 + 0.1 * noise
        elif name.endswith("bias"):
            noise = 0.1 * noise
        else:
            noise = noise / np.sqrt(model.config.hidden_size)
        return jax.device_put(noise.astype(like.dtype), like.sharding)

    return jax.tree.map_with_path(one, model.abstract_params())
