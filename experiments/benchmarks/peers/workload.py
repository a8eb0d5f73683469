"""What every library does in the comparison: sizes, random prompts and pairs, the reward, and the line printed.

Needs numpy alone, as it runs in the environments of all three.
"""

import dataclasses
import importlib.metadata
import itertools
import json
import resource
import statistics
import sys
import time

import numpy as np


@dataclasses.dataclass(frozen=True)
class Workload:
    """Sizes; lengths are in tokens and every sequence is full."""

    prompts: int = 8
    """GRPO: prompts of a step."""
    group_size: int = 8
    """GRPO: completions of a prompt."""
    prompt_len: int = 64
    completion_len: int = 64
    pairs: int = 16
    """DPO: pairs of a step."""
    pair_prompt_len: int = 64
    pair_completion_len: int = 128
    steps: int = 6
    """The first compiles and the second still warms up: the median leaves both out."""
    vocab_size: int = 8192
    hidden_size: int = 256
    num_layers: int = 6


def words(random: np.random.Generator, count: int, vocab_size: int) -> str:
    """`count` words of one token each, none of them special."""
    return " ".join(f"w{i}" for i in random.integers(4, vocab_size, count))


def prompts(w: Workload, count: int, length: int) -> list[str]:
    """Random prompts."""
    random = np.random.default_rng(0)
    return [words(random, length, w.vocab_size) for _ in range(count)]


def pairs(w: Workload) -> list[dict[str, str]]:
    """Random pairs for all steps; the end-of-sequence token takes the last place of a completion."""
    random = np.random.default_rng(1)
    lengths = {"prompt": w.pair_prompt_len, "chosen": w.pair_completion_len - 1, "rejected": w.pair_completion_len - 1}
    return [{k: words(random, n, w.vocab_size) for k, n in lengths.items()} for _ in range(w.pairs * w.steps)]


def reward(completion: str) -> float:
    """Share of words with an odd number."""
    numbers = [int(word[1:]) for word in completion.split() if word[0] == "w"]
    return sum(n % 2 for n in numbers) / max(len(numbers), 1)


def given() -> tuple[str, Workload]:
    """The model's folder and the sizes, from the command line."""
    return sys.argv[1], Workload(**json.loads(sys.argv[2]))


def now() -> tuple[float, float]:
    """The wall clock, and the processor time of the whole process: the latter waits for nobody else's work."""
    return time.perf_counter(), time.process_time()


def report(name: str, stamps: list[tuple[float, float]], tokens: int, packages: tuple[str, ...]) -> None:
    """One JSON line; step n lasts from `stamps[n]` to `stamps[n + 1]`."""
    steps = [[round(b - a, 3) for a, b in itertools.pairwise(clock)] for clock in zip(*stamps, strict=True)]
    median, cpu = (statistics.median(x[2:]) for x in steps)
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    line = {"name": name, "seconds": median, "first": steps[0][0], "cpu_seconds": cpu, "first_cpu": steps[1][0]}
    line |= {"peak_gib": peak, "tokens_per_second": round(tokens / median), "steps": steps[0]}
    print(json.dumps(line | {"versions": {x: importlib.metadata.version(x) for x in packages}}), flush=True)
