"""The stages of a GRPO step as this library compiles them on a CPU, and at the compiler's usual level, in turns.

    python experiments/benchmarks/compile_level.py

Prints the seconds of each compilation, then a line for either kind with those of each stage.
"""

import dataclasses
import json

import inputs
import jax
import jax.numpy as jnp
import measure
import numpy as np
import tyro

from posttrain_jax import GRPO
from posttrain_jax.models import platform
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import optimizer, reference, update

USUAL = {platform.LEVEL: 3}


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes: 8 prompts x 8 completions, 64 + 64 tokens."""

    model: inputs.Model = inputs.Model()
    rounds: int = 9
    """Turns of each, at least 3; the first two are left out of the medians."""


def main(c: Config) -> None:
    """Compile every stage twice, then let the two take turns."""
    measure.enough(c.rounds)
    model, recipe, compiling = c.model.build(8), GRPO(), measure.Watch()
    running = {kind: measure.Watch() for kind in ("quick", "usual")}
    params, opt = model.init(jax.random.key(0)), optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-5)))
    ref_params = reference.copy(params)
    state = update.init_state(model, opt, jax.random.key(1), params=params)

    def both(phase: str, stage, *args):
        lowered = stage.lower(*args)
        kinds = {"quick": None, "usual": USUAL}
        made = {k: compiling.time(f"{phase}, {k}", lowered.compile, options) for k, options in kinds.items()}
        return lambda k, *now: running[k].time(phase, made[k], *now)

    groups = jax.device_put(inputs.random_groups(c.model, 8, 8, 64, 64), model.row_sharding)
    rewards = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8)), jnp.float32)
    asked = groups.prompts, groups.prompt_lengths, groups.group_ids, jax.random.key(1)
    draw = both("rollout", generate.make_generate(model, sample.Sampling(64, stop_ids=()), 8), state.params, *asked)
    score = both("reference", reference.make_score(model), ref_params, groups)
    credit = jax.jit(recipe.credit, out_shardings=model.row_sharding)
    batch = credit(draw("quick", state.params, *asked), rewards, score("quick", ref_params, groups).logps)
    learn = both("update", update.make_update(model, recipe, opt), state, groups, batch)
    print(json.dumps({"compilation": {k: round(times[0], 2) for k, times in compiling.phases.items()}}), flush=True)
    for turn in range(c.rounds):
        for kind in ("quick", "usual") if turn % 2 else ("usual", "quick"):
            rollout = draw(kind, state.params, *asked)
            ref_logps = score(kind, ref_params, rollout.groups).logps
            state, _ = learn(kind, state, rollout.groups, credit(rollout, rewards, ref_logps))
    for kind, watch in running.items():
        watch.report(f"compile_level, {kind}", c, tokens=8 * (64 + 8 * 64))


if __name__ == "__main__":
    main(tyro.cli(Config))
