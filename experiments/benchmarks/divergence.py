"""Time and memory of a divergence between two models, value and gradient, against the form that makes [tokens, V].

    python experiments/benchmarks/divergence.py

Prints one JSON line for each form and vocabulary, on the same hidden states and heads: `chunked` in the head's own
pass, `stored` from the other model's 64 likeliest entries, `naive` from two arrays of log-probabilities. The gradient
is by hidden states and head of the first model. `temporaries_gib` is what the compiler reserves beside arguments and
results.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import measure
import tyro

from posttrain_jax import comparison
from posttrain_jax.losses import adaptive, divergence, generator, tail
from posttrain_jax.models import head, likeliest, sharding


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    tokens: int = 1024
    hidden_size: int = 256
    vocabularies: tuple[int, ...] = (32_768, 151_936)
    chunk: int = 256
    entries: int = 64
    dtype: Literal["float32", "bfloat16"] = "float32"
    steps: int = 6
    """The median leaves out the first, which compiles, and the second."""
    of: generator.ReverseKL | generator.ForwardKL | generator.GeneralizedJS | adaptive.AKL = generator.ReverseKL()


def main(c: Config) -> None:
    """All forms on each vocabulary."""
    measure.enough(c.steps)
    layout = head.Layout(sharding.make_mesh(), sharding.TRAINING_RULES, c.chunk)
    ids = jnp.zeros((1, 1, c.tokens), jnp.int32)

    def of_head(asked, fixed, own):
        stats = head.token_stats(own, ids, layout, temperature=1.0, comparisons={"d": asked}, fixed=fixed)
        return jnp.sum(stats.divergences["d"])

    def chunked(own, other, _):
        return of_head(comparison.Comparison(c.of, {"other": 1.0}), {"other": other}, own)

    def stored(own, _, entries):
        return of_head(comparison.Stored(tail.Bucketed(c.of), *entries), {}, own)

    def naive(own, other, _):
        sides = (jnp.dot(x.hidden, x.weight, preferred_element_type=jnp.float32) for x in (own, other))
        return jnp.sum(divergence.exact(c.of, *(jax.nn.log_softmax(x) for x in sides)))

    for vocab in c.vocabularies:
        random = [
            jax.random.normal(key, (1, 1, c.tokens, c.hidden_size), c.dtype)
            for key in jax.random.split(jax.random.key(0))
        ]
        weights = [
            jax.random.normal(key, (c.hidden_size, vocab), c.dtype) / c.hidden_size**0.5
            for key in jax.random.split(jax.random.key(1))
        ]
        own, other = (comparison.Logits(*pair) for pair in zip(random, weights, strict=True))
        entries = jax.jit(lambda x: likeliest.of_tokens(x, c.entries, layout))(other)
        for form in (chunked, stored, naive):
            stage, watch = jax.jit(jax.value_and_grad(form)), measure.Watch()
            needed: Any = stage.lower(own, other, entries).compile().memory_analysis()
            for _ in range(c.steps):
                watch.time("value_and_gradient", stage, own, other, entries)
            facts = {
                "form": form.__name__,
                "vocab": vocab,
                "temporaries_gib": round(needed.temp_size_in_bytes / 2**30, 4),
            }
            watch.report("divergence", c, tokens=c.tokens, **facts)


if __name__ == "__main__":
    main(tyro.cli(Config))
