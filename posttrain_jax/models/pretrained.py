"""A model, its parameters and its tokenizer from one Hugging Face folder."""

import dataclasses
from pathlib import Path
from typing import Literal

from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from posttrain_jax.models import config, huggingface, language_model, platform, sharding, tokenizer
from posttrain_jax.models import lora as loras


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """What a checkpoint holds."""

    model: language_model.LanguageModel
    params: PyTree[Array]
    tokenizer: tokenizer.Tokenizer

    def save(self, folder: str | Path, trained: PyTree[Array]) -> None:
        """Write the model after training as a Hugging Face folder, in the place of what is there.

        Args:
            trained: what a loop's state holds: all parameters, or adapters, which are then added to the weights.
        """
        merged = self.model.merge(self.params | trained)
        huggingface.save(folder, self.model.config, merged, self.tokenizer, overwrite=True)


def load(name_or_folder: str | Path, compute: config.Compute, mesh: Mesh) -> Pretrained:
    """The checkpoint of a local folder or hub name, its parameters laid out on `mesh`.

    Raises:
        FileNotFoundError: neither a folder nor a name that the hub knows; or the folder lacks a file.
        ValueError: the architecture is not supported, tensors do not fit it, or the tokenizer does not fit the model.
    """
    folder = huggingface.resolve(name_or_folder)
    shape, attend = huggingface.load_config(folder), platform.attention_of(mesh)
    model = language_model.LanguageModel(shape, compute, mesh, attend=attend)
    words = tokenizer.load(folder)
    words.check_vocabulary(model.config.vocab_size)
    return Pretrained(model, huggingface.load_params(folder, model), words)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """Which checkpoint, in which precision, on which devices."""

    model: str
    """A local Hugging Face folder, or a name on the hub."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of matmul operands; bfloat16 on accelerators."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    """In which parameters are held."""
    stored: tuple[str, ...] | None = config.PRODUCTS
    """What each layer stores for the backward pass: fewer names take less memory and more time, None stores all."""
    head_chunk: int = 1024
    """Tokens of one device whose logits exist at one time."""
    mesh: sharding.MeshShape = sharding.MeshShape()
    """The devices."""
    lora: loras.Lora | None = None
    """Train adapters beside the projections instead of the weights; None trains the weights."""

    def load(self) -> Pretrained:
        """See `load`; fresh adapters join the parameters."""
        compute = config.Compute(self.dtype, self.param_dtype, self.stored, self.head_chunk)
        plain = load(self.model, compute, self.mesh.build())
        model = dataclasses.replace(plain.model, lora=self.lora)
        return dataclasses.replace(plain, model=model, params=model.adapt(plain.params))
