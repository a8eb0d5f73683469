"""Time one DPO step: reference log-probabilities and update. Prints one JSON line.

    python experiments/benchmarks/dpo_step.py

The defaults are a randomly initialised Llama of 8.5 million parameters, 16 pairs of 64 + 128 + 128 tokens, float32.
"""

import dataclasses

import inputs
import jax
import measure
import tyro

from posttrain_jax import DPO
from posttrain_jax.train import optimizer, reference, update


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    model: inputs.Model = inputs.Model()
    pairs: int = 16
    prompt_len: int = 64
    completion_len: int = 128
    steps: int = 8
    """The median leaves out the first, which compiles, and the second."""


def main(c: Config) -> None:
    """Run the steps."""
    measure.enough(c.steps)
    model, recipe = c.model.build(c.pairs), DPO()
    params, adamw = model.init(jax.random.key(0)), optimizer.AdamW(optimizer.Constant(1e-6))
    ref_params, opt = reference.copy(params), optimizer.make_optimizer(adamw)
    state = update.init_state(model, opt, jax.random.key(1), params=params)
    score, learn, credit = reference.make_score(model), update.make_update(model, recipe, opt), jax.jit(recipe.credit)
    groups, watch = inputs.random_groups(c.model, c.pairs, 2, c.prompt_len, c.completion_len), measure.Watch()
    for _ in range(c.steps):
        ref = watch.time("reference", score, ref_params, groups)
        batch = watch.time("credit", credit, groups, ref.logps)
        state, _ = watch.time("update", learn, state, groups, batch)
    watch.report("dpo_step", c, tokens=c.pairs * (c.prompt_len + 2 * c.completion_len))


if __name__ == "__main__":
    main(tyro.cli(Config))
