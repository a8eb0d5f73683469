"""This library, TRL and Tunix on the same two workloads, taking turns, every process on the same cores.

    python -m venv runs/trl && runs/trl/bin/pip install torch==2.13.0 && runs/trl/bin/pip install trl peft
    python -m venv runs/tunix && runs/tunix/bin/pip install google-tunix
    python experiments/benchmarks/peers/compare.py --trl runs/trl/bin/python --tunix runs/tunix/bin/python \
        --folder runs/peers --rounds 3

The model is a randomly initialised Llama of 8.5 million parameters, in float32. A GRPO step is rollout, reward on text,
reference and update of 8 prompts x 8 completions of 64 + 64 tokens; a DPO step reference and update of 16 pairs of
64 + 128 + 128 tokens. Prints a JSON line a run, then medians over the rounds with the ratio of each peer to ours:
seconds a step, first step (with compilation), both also in processor time, and the largest resident memory.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Annotated

import model_folder
import rich
import rich.table
import tyro
import workload

FIGURES = ("seconds", "first", "cpu_seconds", "first_cpu", "peak_gib")


@dataclasses.dataclass(frozen=True)
class Config:
    """Who is compared, and how often."""

    trl: str
    """Interpreter of an environment with torch, trl and peft."""
    tunix: str
    """Interpreter of an environment with google-tunix."""
    folder: pathlib.Path
    """For the model."""
    rounds: int = 3
    """Runs of each script."""
    cores: str = "0,1"
    """Where every process is held, as `taskset` wants it."""
    tasks: tuple[str, ...] = ("grpo", "dpo")
    keep_compiled: bool = False
    """JAX keeps compiled programs in the folder and finds those of an earlier comparison there; of Tunix too."""
    sizes: Annotated[workload.Workload, tyro.conf.arg(name="")] = workload.Workload()


def run(c: Config, interpreter: str, script: str) -> dict:
    """The line that a script prints."""
    path = pathlib.Path(__file__).with_name(f"{script}.py")
    command = ["taskset", "-c", c.cores, interpreter, str(path), str(c.folder / "model")]
    kept = {"JAX_COMPILATION_CACHE_DIR": str(c.folder / "compiled")} if c.keep_compiled else {}
    command.append(json.dumps(dataclasses.asdict(c.sizes)))
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | kept)
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-3000:]}")
    print(done.stdout.splitlines()[-1], flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(c: Config) -> None:
    """Interleave the runs, then compare."""
    model_folder.write(c.folder / "model", c.sizes)
    libraries = {"ours": sys.executable, "trl": c.trl, "tunix": c.tunix}
    for task in c.tasks:
        runs: dict[str, list[dict]] = {name: [] for name in libraries}
        for _ in range(c.rounds):
            for name, interpreter in libraries.items():
                runs[name].append(run(c, interpreter, f"{name}_{task}"))
        table = rich.table.Table("library", *FIGURES, title=f"{task}: median of {c.rounds} rounds (x ours)")
        medians = {name: {f: statistics.median(x[f] for x in lines) for f in FIGURES} for name, lines in runs.items()}
        for name, values in medians.items():
            table.add_row(name, *(f"{values[f]:.2f} ({values[f] / medians['ours'][f]:.2f}x)" for f in FIGURES))
        rich.print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
