"""Tunix's own Llama of the workload's shape, random weights, on a mesh of one device."""
# pyright: reportMissingImports=false

import jax
import workload
from flax import nnx
from tunix.models.llama3 import model as llama

mesh = jax.make_mesh((1, 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def make(w: workload.Workload) -> llama.Llama3:
    """The same model at every call."""
    heads = w.hidden_size // 32
    shape = llama.ModelConfig(
        num_layers=w.num_layers,
        vocab_size=w.vocab_size,
        embed_dim=w.hidden_size,
        hidden_dim=w.hidden_size * 85 // 32,
        num_heads=heads,
        head_dim=32,
        num_kv_heads=heads // 2,
        rope_theta=10000,
        norm_eps=1e-5,
    )
    with jax.set_mesh(mesh):
        return llama.Llama3(shape, rngs=nnx.Rngs(0))
