"""What a decoder is (`ModelConfig`) and how it runs (`Compute`)."""

import dataclasses

import jax.numpy as jnp
from jax.typing import DTypeLike

PRODUCTS = ("query", "key", "value", "output", "gate", "up", "down")
"""The products with a layer's weights: nearly all of its time, and what is stored by default."""

STORABLE = (*PRODUCTS, "attention")
"""What may be stored of a layer for the backward pass, beside its input."""


@dataclasses.dataclass(frozen=True)
class Llama3Scaling:
    """Rotary frequencies of Llama 3.1: long wavelengths are stretched, short ones kept, those between are blended.

    With wavelength w = 2 pi / frequency and n = original_max_position: frequency / factor where
    w > n / low_freq_factor, frequency where w < n / high_freq_factor, and between the two
    (1 - s) frequency / factor + s frequency with s = (n / w - low_freq_factor) / (high_freq_factor - low_freq_factor).

    Source: Llama 3.1 (Grattafiori et al. 2024, arXiv:2407.21783) and its reference implementation.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int
    """Positions that the model was first trained on."""

    def __post_init__(self):
        if not self.factor >= 1:
            raise ValueError(f"The rotary scaling factor is {self.factor}; give a number of at least 1.")
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor {self.low_freq_factor} and high_freq_factor {self.high_freq_factor} "
                "do not enclose a band; give 0 < low < high."
            )
        if self.original_max_position < 1:
            raise ValueError(f"original_max_position is {self.original_max_position}; give a positive number.")


@dataclasses.dataclass(frozen=True)
class LinearScaling:
    """Rotary frequencies divided by `factor` (positions interpolated).

    Source: position interpolation (Chen et al. 2023, arXiv:2306.15595, eq. 4).
    """

    factor: float

    def __post_init__(self):
        if not self.factor >= 1:
            raise ValueError(f"The rotary scaling factor is {self.factor}; give a number of at least 1.")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Architecture of a pre-norm decoder with rotary positions, grouped-query attention and a gated SiLU MLP.

    It covers Llama 2 and 3, Mistral, Qwen 2 and 2.5, and Qwen 3.
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    """Query heads."""
    num_kv_heads: int
    """Key and value heads, each shared by num_heads / num_kv_heads query heads."""
    head_dim: int
    """Width of one head; not tied to hidden_size / num_heads."""
    mlp_size: int
    norm_eps: float
    """Inside the root of the RMS norm."""
    rope_theta: float
    """Base of the rotary wavelengths."""
    max_position: int
    """Positions that the model is meant for; nothing in the mathematics depends on it."""
    rope_scaling: Llama3Scaling | LinearScaling | None = None
    tie_embeddings: bool = False
    """Whether the head is the transposed embedding."""
    attention_bias: bool = False
    """Whether query, key and value have biases."""
    output_bias: bool = False
    """Whether the attention's output projection has a bias."""
    mlp_bias: bool = False
    """Whether gate, up and down have biases."""
    qk_norm: bool = False
    """Whether queries and keys are RMS-normalised per head before the rotation (Qwen 3)."""
    sliding_window: int | None = None
    """On every layer, position i attends to positions j with i - sliding_window < j <= i; None is all j <= i."""

    def __post_init__(self):
        sizes = ("vocab_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "mlp_size")
        for name in (*sizes, "max_position"):
            value = self.__dict__[name]
            if value < 1:
                raise ValueError(f"{name} is {value}; give a positive number.")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"{self.num_heads} query heads do not share {self.num_kv_heads} key heads evenly; "
                "make num_heads a multiple of num_kv_heads."
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}, but the rotation pairs its elements; make it even.")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"sliding_window is {self.sliding_window}; give at least 1, or None for full attention.")
        if not self.norm_eps > 0:
            raise ValueError(f"norm_eps is {self.norm_eps}; give a positive number, or a row of zeros divides by zero.")
        if not self.rope_theta > 1:
            raise ValueError(f"rope_theta is {self.rope_theta}; give a number above 1.")


@dataclasses.dataclass(frozen=True)
class Compute:
    """How a model runs: what may change speed, memory and rounding, but not the mathematics."""

    dtype: DTypeLike = jnp.float32
    """Of matmul operands; sums, residual stream, norms and softmaxes are float32."""
    param_dtype: DTypeLike = jnp.float32
    """In which parameters (and so gradients and the optimizer's moments) are held."""
    stored: tuple[str, ...] | None = PRODUCTS
    """Of each layer, what the backward pass finds stored (of `STORABLE`); it recomputes the rest. Fewer names take less
    memory and more time, () stores a layer's input alone, None stores everything."""
    head_chunk: int = 256
    """Tokens whose logits exist at one time."""

    def __post_init__(self):
        # np.dtype and jnp.float32 compare equal but hash differently: one form keeps jit caches and sets honest.
        for name in ("dtype", "param_dtype"):
            dtype = jnp.dtype(self.__dict__[name])
            if dtype not in (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)):
                raise ValueError(f"{name} is {dtype}; give float32 or bfloat16.")
            object.__setattr__(self, name, dtype)
        unknown = [name for name in self.stored or () if name not in STORABLE]
        if unknown:
            raise ValueError(f"stored names {', '.join(unknown)}; choose among {', '.join(STORABLE)}.")
        if self.head_chunk < 1:
            raise ValueError(f"head_chunk is {self.head_chunk}; give a positive number of tokens.")


def miniature(
    vocab_size: int, *, hidden_size: int = 128, num_layers: int = 2, num_heads: int = 4, num_kv_heads: int = 2
) -> ModelConfig:
    """A decoder of the Qwen 3 family (head norms, tied embeddings), small enough to train on a laptop."""
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=32,
        mlp_size=3 * hidden_size,
        norm_eps=1e-6,
        rope_theta=10_000.0,
        max_position=2048,
        tie_embeddings=True,
        qk_norm=True,
    )
