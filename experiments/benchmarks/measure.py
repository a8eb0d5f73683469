"""What the benchmarks share: the model's sizes, seconds by phase, and the JSON line that each measurement prints."""

import dataclasses
import json
import resource
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.models import config, language_model, platform, sharding


@dataclasses.dataclass(frozen=True)
class Model:
    """A randomly initialised decoder; the defaults are a Llama of 8.5 million parameters."""

    vocab_size: int = 8192
    hidden_size: int = 256
    num_layers: int = 6
    num_heads: int = 8
    num_kv_heads: int = 4
    head_dim: int = 32
    mlp_size: int = 680
    tie_embeddings: bool = False
    attention_bias: bool = False
    """Of query, key and value, as in Qwen 2."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of matmul operands."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    head_chunk: int = 256
    """Tokens whose logits exist at one time."""

    def build(self) -> language_model.LanguageModel:
        """The model on one device."""
        sizes = {name: value for name, value in vars(self).items() if name in config.ModelConfig.__dataclass_fields__}
        shape = config.ModelConfig(norm_eps=1e-6, rope_theta=1e4, max_position=32768, **sizes)
        compute, mesh = config.Compute(self.dtype, self.param_dtype, head_chunk=self.head_chunk), sharding.make_mesh()
        return language_model.LanguageModel(shape, compute, mesh, attend=platform.attention_of(mesh))


def random_groups(model: Model, rows: int, group_size: int, prompt_len: int, completion_len: int) -> types.Groups:
    """Random token ids, every sequence full."""
    random, shape = np.random.default_rng(0), (rows, group_size, completion_len)
    return types.Groups(
        prompts=jnp.asarray(random.integers(4, model.vocab_size, (rows, prompt_len)), jnp.int32),
        prompt_lengths=jnp.full(rows, prompt_len, jnp.int32),
        completions=jnp.asarray(random.integers(4, model.vocab_size, shape), jnp.int32),
        completion_lengths=jnp.full(shape[:2], completion_len, jnp.int32),
        completion_mask=jnp.ones(shape, bool),
        group_ids=jnp.arange(rows, dtype=jnp.int32),
    )


class Watch:
    """Seconds of each phase of each step."""

    def __init__(self) -> None:
        self.phases: dict[str, list[float]] = {}

    def time(self, phase: str, function: Callable[..., Any], *args: Any) -> Any:
        """The result of `function(*args)`, once it is there."""
        begin = time.perf_counter()
        result = jax.block_until_ready(function(*args))
        self.phases.setdefault(phase, []).append(time.perf_counter() - begin)
        return result

    def report(self, name: str, sizes: Any, *, tokens: int, **facts: Any) -> None:
        """Print a line: medians without the first two steps (the first compiles), and the first step by itself."""
        seconds = {phase: statistics.median(times[2:]) for phase, times in self.phases.items()}
        line = {"name": name, "sizes": dataclasses.asdict(sizes), "seconds": _rounded(seconds)}
        line |= {"step": round(sum(seconds.values()), 4), "first": round(sum(x[0] for x in self.phases.values()), 2)}
        line |= {"tokens_per_second": round(tokens / sum(seconds.values())), **_rounded(peak()), **facts}
        versions = {package: metadata.version(package) for package in ("jax", "jaxlib", "flax", "optax")}
        print(json.dumps(line | {"versions": versions, "device": jax.devices()[0].device_kind}), flush=True)


def peak() -> dict[str, float]:
    """The most memory held so far: the device's where it tells, else the process's."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None and "peak_bytes_in_use" in stats:
        return {"peak_device_gib": stats["peak_bytes_in_use"] / 2**30}
    return {"peak_process_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
