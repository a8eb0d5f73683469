"""Training tokens a second where a prompt is encoded once for its group, against once for every completion.

    python experiments/benchmarks/prompt_sharing.py

Prints one JSON line for each ratio of prompt to completion length and each group size: the gradient of a likelihood of
the same completions, in rows of G completions (`shared`) and in rows of one (`repeated`). `times_faster` is the ratio.
"""

import dataclasses

import inputs
import jax
import jax.numpy as jnp
import measure
import tyro

from posttrain_jax import types


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    model: inputs.Model = inputs.Model(num_layers=2)
    completions: int = 32
    """Of a step, whatever the group size."""
    length: int = 160
    """Prompt and completion together, in tokens."""
    ratios: tuple[tuple[int, int], ...] = ((4, 1), (1, 1), (1, 4))
    """Prompt to completion length."""
    group_sizes: tuple[int, ...] = (1, 2, 8, 32)
    steps: int = 6
    """The median leaves out the first, which compiles, and the second."""


def repeated(groups: types.Groups) -> types.Groups:
    """The same completions in rows of one, the prompt in each."""
    group = groups.completions.shape[1]
    prompts = (jnp.repeat(x, group, axis=0) for x in (groups.prompts, groups.prompt_lengths))
    each = (
        x.reshape(-1, 1, *x.shape[2:]) for x in (groups.completions, groups.completion_lengths, groups.completion_mask)
    )
    return types.Groups(*prompts, *each, group_ids=jnp.repeat(groups.group_ids, group))


def main(c: Config) -> None:
    """Run both layouts for every ratio and group size, taking turns."""
    measure.enough(c.steps)
    model = c.model.build(c.completions // max(c.group_sizes))
    params = model.init(jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda params, groups: -jnp.sum(model.token_stats(params, groups).logps)))
    for prompt, completion in c.ratios:
        prompt_len = c.length * prompt // (prompt + completion)
        for size in c.group_sizes:
            lengths = (prompt_len, c.length - prompt_len)
            groups, watches = inputs.random_groups(c.model, c.completions // size, size, *lengths), {}
            layouts = {"shared": groups, "repeated": repeated(groups)}
            for _ in range(c.steps):
                for name, rows in layouts.items():
                    watches.setdefault(name, measure.Watch()).time("gradient", gradient, params, rows)
            speed = {
                name: sorted(x.phases["gradient"][2:])[len(x.phases["gradient"][2:]) // 2]
                for name, x in watches.items()
            }
            facts = {
                "ratio": f"{prompt}:{completion}",
                "group_size": size,
                "repeated_seconds": round(speed["repeated"], 4),
            }
            facts["times_faster"] = round(speed["repeated"] / speed["shared"], 2)
            watches["shared"].report("prompt_sharing", c, tokens=c.completions * c.length, **facts)


if __name__ == "__main__":
    main(tyro.cli(Config))
