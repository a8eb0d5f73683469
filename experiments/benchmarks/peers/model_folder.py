"""The model that all libraries are given, as a Hugging Face folder: random weights, a tokenizer of one word a token."""

import pathlib

import jax
import tokenizers
import workload
from tokenizers import models, pre_tokenizers

from posttrain_jax.models import config, huggingface, language_model, sharding
from posttrain_jax.models import vocabulary as wrapping


def write(folder: pathlib.Path, s: workload.Workload) -> None:
    """A Llama and a tokenizer of one word a token, in a Hugging Face folder."""
    heads = s.hidden_size // 32
    shape = config.ModelConfig(
        s.vocab_size, s.hidden_size, s.num_layers, heads, heads // 2, 32, s.hidden_size * 85 // 32, 1e-5, 1e4, 2048
    )
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3} | {f"w{i}": i for i in range(4, s.vocab_size)}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    words = wrapping.wrap(backend, pad="<pad>", bos="<s>", eos="</s>")
    params = language_model.LanguageModel(shape, config.Compute(), sharding.make_mesh()).init(jax.random.key(0))
    huggingface.save(folder, shape, params, words, overwrite=True)
