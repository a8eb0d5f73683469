"""Time one GRPO step with a reference: rollout, reference log-probabilities, update. Prints one JSON line.

    python experiments/benchmarks/grpo_step.py

The defaults are a randomly initialised Llama of 8.5 million parameters, 8 prompts x 8 samples, 64 + 64 tokens, float32.
"""

import dataclasses

import inputs
import jax
import jax.numpy as jnp
import measure
import numpy as np
import tyro

from posttrain_jax import GRPO
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import optimizer, reference, update


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    model: inputs.Model = inputs.Model()
    prompts: int = 8
    group_size: int = 8
    prompt_len: int = 64
    completion_len: int = 64
    steps: int = 8
    """The median leaves out the first, which compiles, and the second."""


def main(c: Config) -> None:
    """Run the steps."""
    measure.enough(c.steps)
    model, recipe = c.model.build(c.prompts), GRPO()
    params, adamw = model.init(jax.random.key(0)), optimizer.AdamW(optimizer.Constant(1e-5))
    ref_params, opt = reference.copy(params), optimizer.make_optimizer(adamw)
    state = update.init_state(model, opt, jax.random.key(1), params=params)
    rollout_stage = generate.make_generate(model, sample.Sampling(c.completion_len, stop_ids=()), c.group_size)
    score, learn, credit = reference.make_score(model), update.make_update(model, recipe, opt), jax.jit(recipe.credit)
    watch = measure.Watch()
    for step in range(c.steps):
        groups = inputs.random_groups(c.model, c.prompts, c.group_size, c.prompt_len, c.completion_len)
        rewards = jnp.asarray(np.random.default_rng(step).normal(size=(c.prompts, c.group_size)), jnp.float32)
        asked = (state.params, groups.prompts, groups.prompt_lengths, groups.group_ids, jax.random.key(step))
        rollout = watch.time("rollout", rollout_stage, *asked)
        ref = watch.time("reference", score, ref_params, rollout.groups)
        batch = watch.time("credit", credit, rollout, rewards, ref.logps)
        state, _ = watch.time("update", learn, state, rollout.groups, batch)
    watch.report("grpo_step", c, tokens=c.prompts * (c.prompt_len + c.group_size * c.completion_len))


if __name__ == "__main__":
    main(tyro.cli(Config))
