"""Time and temporaries of the vocabulary head, value and gradient, against the form that makes logits [tokens, V].

    python experiments/benchmarks/head.py

Prints one JSON line for each form and vocabulary; both compute log-probability and entropy of every token and the
gradients of hidden states and weight. `temporaries_gib` is what the compiler reserves beside arguments and results.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import measure
import tyro

from posttrain_jax import comparison
from posttrain_jax.models import head, sharding


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    tokens: int = 1024
    hidden_size: int = 256
    vocabularies: tuple[int, ...] = (32_768, 151_936)
    chunk: int = 256
    dtype: Literal["float32", "bfloat16"] = "float32"
    steps: int = 6
    """The median leaves out the first, which compiles, and the second."""


def naive(hidden, weight, targets):
    logits = jnp.dot(hidden, weight, preferred_element_type=jnp.float32)
    log_probs = jax.nn.log_softmax(logits)
    logps = jnp.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]
    return logps, -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)


def main(c: Config) -> None:
    """Run both forms on each vocabulary."""
    measure.enough(c.steps)
    mesh = sharding.make_mesh()

    def chunked(hidden, weight, targets):
        logits, layout = comparison.Logits(hidden, weight), head.Layout(mesh, sharding.TRAINING_RULES, c.chunk)
        stats = head.token_stats(logits, targets, layout, temperature=1.0)
        return stats.logps, stats.entropy

    for vocab in c.vocabularies:
        keys = jax.random.split(jax.random.key(0), 3)
        hidden = jax.random.normal(keys[0], (1, 1, c.tokens, c.hidden_size), c.dtype)
        weight = jax.random.normal(keys[1], (c.hidden_size, vocab), c.dtype) / c.hidden_size**0.5
        targets = jax.random.randint(keys[2], (1, 1, c.tokens), 0, vocab)
        for form in (chunked, naive):

            def loss(hidden, weight, form=form, targets=targets):
                logps, entropy = form(hidden, weight, targets)
                return jnp.sum(logps) + 0.1 * jnp.sum(entropy)

            stage, watch = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))), measure.Watch()
            needed: Any = stage.lower(hidden, weight).compile().memory_analysis()
            for _ in range(c.steps):
                watch.time("value_and_gradient", stage, hidden, weight)
            facts = {
                "form": form.__name__,
                "vocab": vocab,
                "temporaries_gib": round(needed.temp_size_in_bytes / 2**30, 4),
            }
            watch.report("head", c, tokens=c.tokens, **facts)


if __name__ == "__main__":
    main(tyro.cli(Config))
