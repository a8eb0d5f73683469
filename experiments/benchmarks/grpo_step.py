"""Time one GRPO step with a reference: rollout, reference log-probabilities, update. Prints one JSON line.

    python experiments/benchmarks/grpo_step.py

The defaults are a randomly initialised Llama of 8.5 million parameters, 8 prompts x 8 samples, 64 + 64 tokens, float32.
"""

import dataclasses
import json
import resource
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from posttrain_jax import GRPO
from posttrain_jax.models import config, language_model, sharding
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import optimizer, reference, update


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    vocab_size: int = 8192
    hidden_size: int = 256
    num_layers: int = 6
    prompts: int = 8
    group_size: int = 8
    prompt_len: int = 64
    completion_len: int = 64
    head_chunk: int = 256
    steps: int = 8


def main(c: Config) -> None:
    """Run the steps; the first, which compiles, stands apart, and the median leaves it and the next out."""
    width, heads = c.hidden_size, c.hidden_size // 32
    shape = config.ModelConfig(
        c.vocab_size, width, c.num_layers, heads, heads // 2, 32, width * 85 // 32, 1e-5, 1e4, max_position=2048
    )
    model = language_model.LanguageModel(shape, config.Compute(head_chunk=c.head_chunk), sharding.make_mesh())
    params, adamw = model.init(jax.random.key(0)), optimizer.AdamW(optimizer.Constant(1e-5))
    ref_params, opt, recipe = reference.copy(params), optimizer.make_optimizer(adamw), GRPO()
    state = update.init_state(model, opt, jax.random.key(1), params=params)
    rollout_stage = generate.make_generate(model, sample.Sampling(c.completion_len, stop_ids=()), c.group_size)
    score, learn, credit = reference.make_score(model), update.make_update(model, recipe, opt), jax.jit(recipe.credit)
    lengths, ids = jnp.full(c.prompts, c.prompt_len, jnp.int32), jnp.arange(c.prompts, dtype=jnp.int32)
    phases: dict[str, list[float]] = {"rollout": [], "reference": [], "update": [], "step": []}
    for step in range(c.steps):
        random = np.random.default_rng(step)
        prompts = jnp.asarray(random.integers(4, c.vocab_size, (c.prompts, c.prompt_len)), jnp.int32)
        rewards = jnp.asarray(random.normal(size=(c.prompts, c.group_size)), jnp.float32)
        times = [time.perf_counter()]
        rollout = jax.block_until_ready(rollout_stage(state.params, prompts, lengths, ids, jax.random.key(step)))
        times.append(time.perf_counter())
        ref_logps = jax.block_until_ready(score(ref_params, rollout.groups)).logps
        times.append(time.perf_counter())
        state, _ = jax.block_until_ready(learn(state, rollout.groups, credit(rollout, rewards, ref_logps)))
        times.append(time.perf_counter())
        for name, seconds in zip(phases, [*np.diff(times), times[-1] - times[0]], strict=True):
            phases[name].append(float(seconds))
    median = {name: round(statistics.median(x[2:]), 3) for name, x in phases.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    tokens = c.prompts * (c.prompt_len + c.group_size * c.completion_len)
    about = {"tokens_per_second": round(tokens / median["step"]), "peak_gib": round(peak, 2), "jax": jax.__version__}
    first = round(phases["step"][0], 1)
    print(json.dumps({"name": "grpo_step", **dataclasses.asdict(c), "seconds": median, "first": first, **about}))


if __name__ == "__main__":
    main(tyro.cli(Config))
