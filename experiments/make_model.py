"""Make a small Qwen3-shaped model with random weights and a byte-pair tokenizer learned from your text.

    python experiments/make_model.py --data data/gsm8k/train.jsonl --text question answer --folder runs/tiny

Takes seconds on a CPU. For trying the other experiments without a download; the folder loads in `transformers`.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import tyro

from posttrain_jax.data import fields, source
from posttrain_jax.models import config, huggingface, language_model, sharding, vocabulary
from posttrain_jax.train import checks, command


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    source: Annotated[source.Source, tyro.conf.arg(name="")]
    text: tuple[str, ...]
    """Fields of the data whose text the tokenizer is learned from."""
    folder: Path
    """Of the model."""
    vocab_size: int = 2048
    """Tokens, at least 259."""
    hidden_size: int = 128
    """Width of the residual stream, in steps of 64."""
    num_layers: int = 4
    """Blocks."""
    seed: int = 0
    """Of the weights."""


def main(c: Config) -> None:
    """Learn the tokenizer, draw the weights, write the folder."""
    rows = c.source.read()
    texts = (fields.text(rows[index], name) for index in range(len(rows)) for name in c.text)
    words = vocabulary.byte_pairs(texts, c.vocab_size)
    checks.writable(c.folder)
    shape = config.miniature(c.vocab_size, hidden_size=c.hidden_size, num_layers=c.num_layers)
    model = language_model.LanguageModel(shape, config.Compute(), sharding.make_mesh())
    params = model.init(jax.random.key(c.seed))
    huggingface.save(c.folder, shape, params, words)
    print(f"{c.folder}: {sum(x.size for x in jax.tree.leaves(params)):,} parameters, {words.vocab_size} tokens")


if __name__ == "__main__":
    command.alone(main, Config)
