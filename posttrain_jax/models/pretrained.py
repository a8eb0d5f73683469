"""A model, its parameters and its tokenizer from one Hugging Face folder."""

import dataclasses
from pathlib import Path

from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from posttrain_jax.models import config, huggingface, language_model, tokenizer


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """What a checkpoint holds."""

    model: language_model.LanguageModel
    params: PyTree[Array]
    tokenizer: tokenizer.Tokenizer


def load(name_or_folder: str | Path, compute: config.Compute, mesh: Mesh) -> Pretrained:
    """The checkpoint of a local folder or hub name, its parameters laid out on `mesh`.

    Raises:
        FileNotFoundError: neither a folder nor a name that the hub knows; or the folder lacks a file.
        ValueError: the architecture is not supported, tensors do not fit it, or the tokenizer does not fit the model.
    """
    folder = huggingface.resolve(name_or_folder)
    model = language_model.LanguageModel(huggingface.load_config(folder), compute, mesh)
    words = tokenizer.load(folder)
    words.check_vocabulary(model.config.vocab_size)
    return Pretrained(model, huggingface.load_params(folder, model), words)
