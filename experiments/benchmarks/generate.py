"""Time sampling: prompts encoded once, then one token at a time for all completions. Prints one JSON line.

    python experiments/benchmarks/generate.py

`encode` samples a single token of each completion, so `seconds_per_token` is of decoding alone, and
`weight_gib_per_second` says how fast each decoding step reads the weights (a lower bound of the memory traffic).
"""

import dataclasses

import inputs
import jax
import jax.numpy as jnp
import measure
import tyro

from posttrain_jax.rollout import generate, sample


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    model: inputs.Model = inputs.Model()
    prompts: int = 8
    group_size: int = 8
    prompt_len: int = 64
    completion_len: int = 64
    temperature: float = 1.0
    steps: int = 8
    """The median leaves out the first, which compiles, and the second."""


def main(c: Config) -> None:
    """Sample again and again."""
    measure.enough(c.steps)
    model = c.model.build(c.prompts)
    params = model.init(jax.random.key(0))
    groups, watch, alone = (
        inputs.random_groups(c.model, c.prompts, 1, c.prompt_len, 1),
        measure.Watch(),
        measure.Watch(),
    )
    stages = [
        generate.make_generate(model, sample.Sampling(length, (), c.temperature), c.group_size)
        for length in (1, c.completion_len)
    ]
    for step in range(c.steps):
        asked = (params, groups.prompts, groups.prompt_lengths, groups.group_ids, jax.random.key(step))
        alone.time("encode", stages[0], *asked)
        watch.time("generate", stages[1], *asked)
    encode, whole = (sorted(x)[len(x) // 2] for x in (alone.phases["encode"][2:], watch.phases["generate"][2:]))
    per_token = (whole - encode) / max(c.completion_len - 1, 1)
    # an untied embedding is looked up, not read through
    matrices = [params["blocks"], params["embedding" if c.model.tie_embeddings else "head"]]
    read = sum(x.size for x in jax.tree.leaves(matrices)) * jnp.dtype(c.model.dtype).itemsize
    facts = {"encode_seconds": round(encode, 4), "seconds_per_token": round(per_token, 6)}
    facts["weight_gib_per_second"] = round(read / 2**30 / per_token, 2)
    watch.report("generate", c, tokens=c.prompts * c.group_size * c.completion_len, **facts)


if __name__ == "__main__":
    main(tyro.cli(Config))
