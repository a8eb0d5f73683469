"""What a GRPO step would take on a pod: every phase compiled by the TPU compiler, on a machine without a TPU.

    python tpu/plan.py --model tpu/shapes/qwen2.5-7b.json --topology v5p:4x4x4 --groups 64 --group-size 8 \
        --prompt-len 512 --completion-len 1024 --mesh.tensor 4

The functions are those of a run (`rollout.generate`, `train.reference`, `train.update`) with its sharding rules; give
the mesh, micro-batches, dtypes and stored names that the run will have. Memory is the compiler's own figure. Times are
what arithmetic, memory and links take at their peaks, each alone: a run takes longer. Needs `pip install -e .[tpu]`.
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import time
from typing import Any, Literal

import report
import tyro

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}

import chip
import hlo
import jax
import kernel
import phase
import work
from jax.experimental import topologies

from posttrain_jax.models import attention, huggingface_config, language_model, sharding, splash
from posttrain_jax.models import config as configs
from posttrain_jax.train import command

ATTENTION = {"kernel": splash.attend, "einsum": attention.einsum}


@dataclasses.dataclass(frozen=True)
class Config:
    """Of what, for what."""

    model: pathlib.Path
    """A Hugging Face folder, or its config.json."""
    topology: str
    """Of chips: v5p:4x4x4, v5e:16x16, v6e:8x8."""
    sizes: tyro.conf.OmitArgPrefixes[phase.Sizes]
    mesh: sharding.MeshShape = sharding.MeshShape()
    """How the chips are shared out."""
    micro_batches: int = 1
    """Parts of an update."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of matmul operands."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    """In which parameters and moments are held."""
    stored: tuple[str, ...] = ("attention",)
    """What each layer stores for the backward pass beside its input."""
    head_chunk: int = 1024
    """Tokens of one chip whose logits exist at one time."""
    attention: Literal["kernel", "einsum"] = "kernel"
    """What a run on TPU takes, or what it would be without."""
    phases: tuple[Literal["generate", "score", "update"], ...] = ("generate", "score", "update")
    """Which are compiled."""


def slice_of(topology: str) -> list[Any]:
    """The chips of a slice that need not be there.

    Raises:
        ValueError: the TPU compiler is not installed, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError("the TPU compiler is not installed: `make plan` does it, or pip install -e '.[tpu]'.")
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    except jax.errors.JaxRuntimeError as error:
        told = str(error).splitlines()[0]
        raise ValueError(f"there is no slice {topology!r} ({told}): give one like v5p:4x4x4 or v5e:8x8.") from error


def main(c: Config) -> list[report.Phase]:
    """Compile, count, print."""
    devices = slice_of(c.topology)
    model, peaks = build(c, devices), chip.of(devices[0].device_kind)
    print(report.heading(c, len(devices), dict(model.mesh.shape)), flush=True)
    lower = {
        "generate": lambda: phase.lower_generate(model, c.sizes),
        "score": lambda: phase.lower_score(model, c.sizes),
        "update": lambda: phase.lower_update(model, c.sizes, c.micro_batches),
    }
    done = []
    for name in c.phases:
        done.append(measure(name, lower[name](), kernels(model, c.sizes)))
        print(report.of_phase(done[-1], peaks), flush=True)
    print(report.verdict(done, peaks, c.topology))
    return done


def build(c: Config, devices) -> language_model.LanguageModel:
    """The model on the topology's chips.

    Raises:
        ValueError: the mesh does not take all of them, or does not divide the model.
    """
    data, tensor = c.mesh.data, c.mesh.tensor
    fsdp = len(devices) // (data * tensor) if c.mesh.fsdp is None else c.mesh.fsdp
    if data * fsdp * tensor != len(devices):
        raise ValueError(
            f"a mesh of data={data} x fsdp={fsdp} x tensor={tensor} does not take the {len(devices)} chips of"
            f" {c.topology}: choose sizes whose product is that."
        )
    file = c.model / "config.json" if c.model.is_dir() else c.model
    if not file.exists():
        raise FileNotFoundError(f"there is no {file}: give the config.json of a model, or a folder that holds one.")
    return language_model.LanguageModel(
        huggingface_config.parse(json.loads(file.read_text())),
        configs.Compute(c.dtype, c.param_dtype, c.stored, c.head_chunk),
        sharding.make_mesh(data=data, fsdp=fsdp, tensor=tensor, devices=devices),
        attend=ATTENTION[c.attention],
    )


def kernels(model: language_model.LanguageModel, sizes: phase.Sizes):
    """The sequences that the flash kernels may run over."""
    return kernel.masks(sizes.prompt_len, sizes.group_size, sizes.completion_len, model.config.sliding_window)


def measure(name: str, lowered: jax.stages.Lowered, possible) -> report.Phase:
    """Compile, and count what the program does."""
    begin = time.monotonic()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return report.Phase(name, time.monotonic() - begin, None, None, (0.0, 0.0, 0))
    program = hlo.parse(compiled.as_text() or "")
    seconds, memory = time.monotonic() - begin, compiled.memory_analysis()
    return report.Phase(name, seconds, memory, work.count(program), kernel.count(program, possible))


if __name__ == "__main__":
    command.alone(main, Config)
