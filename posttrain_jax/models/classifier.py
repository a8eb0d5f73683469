"""Hugging Face folders of models that say numbers: `*ForSequenceClassification` and `*ForTokenClassification`.

The first has `score.weight` alone, the second a bias as well; both read the last token's, or each token's, hidden
state as `ScalarModel` does. A gate has no place in either.
"""

import dataclasses
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, PyTree

from posttrain_jax.models import (
    config,
    huggingface,
    huggingface_config,
    language_model,
    platform,
    scalar_model,
    settings_file,
)
from posttrain_jax.models import tokenizer as tokenizers

SEQUENCE, TOKEN = "ForSequenceClassification", "ForTokenClassification"
OF_HEAD = ("num_labels", "id2label", "label2id", "problem_type", "classifier_dropout", "architectures")


@dataclasses.dataclass(frozen=True)
class Classifier:
    """What such a checkpoint holds."""

    model: scalar_model.ScalarModel
    params: PyTree[Array]
    tokenizer: tokenizers.Tokenizer

    def save(self, folder: str | Path, trained: PyTree[Array]) -> None:
        """Write the model after training as a Hugging Face folder, in the place of what is there.

        Args:
            trained: what a loop's state holds: all parameters, or adapters and head; adapters are added to the weights.

        Raises:
            ValueError: the model has a gate.
        """
        merged = self.model.merge(self.params | trained)
        huggingface.save(folder, self.model.config, merged, self.tokenizer, overwrite=True, extra=entries(self.model))


def entries(model: scalar_model.ScalarModel) -> dict[str, Any]:
    """What `config.json` says of the head.

    Raises:
        ValueError: the model has a gate.
    """
    if model.gates:
        raise ValueError("no Hugging Face classifier has a gate: export a model with gates=0, or keep the checkpoint.")
    causal = huggingface_config.render(model.config)["architectures"][0]
    names = {str(index): f"LABEL_{index}" for index in range(model.size)}
    return {
        "architectures": [causal.removesuffix("ForCausalLM") + (TOKEN if model.bias else SEQUENCE)],
        "id2label": names,
        "label2id": {name: int(index) for index, name in names.items()},
    }


def load(name_or_folder: str | Path, compute: config.Compute, mesh: Mesh) -> Classifier:
    """The classifier of a local folder or hub name, its parameters laid out on `mesh`.

    Raises:
        FileNotFoundError: neither a folder nor a name that the hub knows; or the folder lacks a file.
        ValueError: it is no classifier, its architecture is not supported, or its tensors do not fit.
    """
    folder = huggingface.resolve(name_or_folder)
    told = settings_file.read(folder / "config.json")
    kind = (told.get("architectures") or [""])[0]
    if not kind.endswith((SEQUENCE, TOKEN)):
        raise ValueError(
            f"{folder} holds {kind or 'an unnamed architecture'}, which is no classifier: load a language model with"
            " `pretrained.load` and put a `ScalarModel` on it."
        )
    trunk = huggingface_config.parse({key: value for key, value in told.items() if key not in OF_HEAD})
    size = told.get("num_labels") or len(told.get("id2label") or (0, 1))  # transformers' default is two labels
    language = language_model.LanguageModel(trunk, compute, mesh, attend=platform.attention_of(mesh))
    model = scalar_model.ScalarModel(language, size=size, bias=kind.endswith(TOKEN))
    words = tokenizers.load(folder)
    words.check_vocabulary(model.config.vocab_size)
    return Classifier(model, huggingface.load_params(folder, model), words)
