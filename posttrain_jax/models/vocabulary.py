"""Tokenizers made on the spot, for small models: single characters, or byte pairs learned from text."""

import string
from collections.abc import Iterable

import tokenizers
import transformers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from posttrain_jax.models import tokenizer

SPECIAL = ["<pad>", "<bos>", "<eos>"]
"""Ids 0, 1 and 2. Sequences begin with BOS, completions end with EOS; there is no chat template."""


def characters(alphabet: str = string.printable) -> tokenizer.Tokenizer:
    """One token per character of `alphabet`. Text outside it is an error."""
    repeated = sorted({character for character in alphabet if alphabet.count(character) > 1})
    if repeated:
        raise ValueError(f"The alphabet holds {repeated} more than once; give each character once.")
    backend = tokenizers.Tokenizer(models.WordLevel({token: i for i, token in enumerate([*SPECIAL, *alphabet])}))
    backend.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return _finish(backend)


def byte_pairs(texts: Iterable[str], vocab_size: int) -> tokenizer.Tokenizer:
    """Byte-level byte-pair encoding of `vocab_size` tokens, learned from `texts`; any text round-trips."""
    smallest = len(SPECIAL) + 256
    if vocab_size < smallest:
        raise ValueError(f"vocab_size={vocab_size} has no room for all bytes; give at least {smallest}.")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return _finish(backend)


def _finish(backend: tokenizers.Tokenizer) -> tokenizer.Tokenizer:
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return wrap(backend, pad="<pad>", bos="<bos>", eos="<eos>")


def wrap(backend: tokenizers.Tokenizer, *, pad: str, bos: str, eos: str) -> tokenizer.Tokenizer:
    """A tokenizer of the `tokenizers` library, with the names of its special tokens."""
    return tokenizer.wrap(
        transformers.PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, bos_token=bos, eos_token=eos)
    )
