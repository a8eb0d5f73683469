"""Meshes, and the one table that says which dimension of which array lies on which mesh axis."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float

ROWS = ("data", "fsdp")
"""Mesh axes that share out the rows of a batch."""

AXES = ("data", "fsdp", "tensor")

PARAM_AXES: dict[str, tuple[str | None, ...]] = {
    "embedding": ("vocab", "width"),
    "head": ("width", "vocab"),
    "final_norm": (None,),
    "attention_norm": (None,),
    "mlp_norm": (None,),
    "query": ("width", "heads"),
    "key": ("width", "heads"),
    "value": ("width", "heads"),
    "output": ("heads", "width"),
    "query_bias": ("heads",),
    "key_bias": ("heads",),
    "value_bias": ("heads",),
    "output_bias": (None,),
    "query_norm": (None,),
    "key_norm": (None,),
    "gate": ("width", "mlp"),
    "up": ("width", "mlp"),
    "down": ("mlp", "width"),
    "gate_bias": ("mlp",),
    "up_bias": ("mlp",),
    "down_bias": (None,),
}
"""Logical axes of each parameter, the stacked layer axis left out."""


@dataclasses.dataclass(frozen=True)
class Rules:
    """Where each logical axis lies: a mesh axis, or None where every device holds it whole."""

    vocab: str | None = "tensor"
    heads: str | None = "tensor"
    mlp: str | None = "tensor"
    width: str | None = "fsdp"
    residual: str | None = "tensor"
    """Of the residual stream's width: what is stored of each layer for the backward pass."""

    def spec(self, name: str, *, stacked: bool) -> Spec:
        """The partition of parameter `name`; `stacked` parameters have a leading layer axis that is never cut."""
        axes = [None if axis is None else getattr(self, axis) for axis in PARAM_AXES[name]]
        return Spec(*([None] if stacked else []), *axes)


TRAINING_RULES = Rules()
"""Weights cut over fsdp as well: a layer's are gathered when it runs."""

SAMPLING_RULES = Rules(width=None, residual=None)
"""For generation: weights whole over fsdp, so that no token of a rollout gathers a weight."""


def make_mesh(*, data: int = 1, fsdp: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of `data` x `fsdp` x `tensor` devices (the first ones unless given, process by process).

    Raises:
        ValueError: there are fewer devices than the mesh needs.
    """
    # a tensor axis lies within a process, where it fits
    devices = sorted(jax.devices(), key=lambda device: device.process_index) if devices is None else devices
    count = math.prod((data, fsdp, tensor))
    if min(data, fsdp, tensor) < 1 or count > len(devices):
        more = ", or set JAX_NUM_CPU_DEVICES to have more" if devices[0].platform == "cpu" else ""
        raise ValueError(
            f"a mesh of data={data} x fsdp={fsdp} x tensor={tensor} needs {count} devices and there are {len(devices)}:"
            f" choose positive sizes whose product does not exceed that{more}."
        )
    shape = np.asarray(devices[:count]).reshape(data, fsdp, tensor)
    return Mesh(shape, AXES, axis_types=(AxisType.Auto,) * 3)


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """How many devices lie along each axis of the mesh."""

    data: int = 1
    """Copies of the model, each with rows of its own."""
    fsdp: int | None = None
    """Devices that share rows and parameters out; None takes all that data and tensor leave."""
    tensor: int = 1
    """Devices that share out heads, MLP and vocabulary."""

    def build(self) -> Mesh:
        """The mesh of this process group's devices.

        Raises:
            ValueError: fsdp is to take what data and tensor leave, and they do not divide the devices; see `make_mesh`.
        """
        if self.fsdp is not None:
            return make_mesh(data=self.data, fsdp=self.fsdp, tensor=self.tensor)
        devices, taken = jax.device_count(), self.data * self.tensor
        if taken < 1 or taken > devices:
            return make_mesh(data=self.data, tensor=self.tensor)  # which says what is wrong
        if devices % taken:
            raise ValueError(
                f"data={self.data} x tensor={self.tensor} does not divide the {devices} devices, so fsdp cannot take"
                " the rest: choose divisors, or say fsdp=1 to use fewer devices."
            )
        return make_mesh(data=self.data, fsdp=devices // taken, tensor=self.tensor)


def constrain(x: Array, mesh: Mesh, spec: Spec) -> Array:
    """`x`, told to lie as `spec` says."""
    return lax.with_sharding_constraint(x, NamedSharding(mesh, spec))


def varying(x: Array, *axes: str) -> Array:
    """`x` inside a `shard_map`, declared to differ along `axes`: its gradient is then summed over them once, here."""
    return lax.pcast(x, axes, to="varying")


def gather_width(weight: Float[Array, "..."], rules: Rules, axis: int) -> Float[Array, "..."]:
    """Inside a `shard_map`: the weight whole along its width, varying over the row axes.

    Done once, before any loop over chunks, so that neither the gather nor the gradient's reduction is repeated in it.
    """
    if rules.width is None:
        return varying(weight, *ROWS)
    if lax.axis_size(rules.width) > 1:  # of one device a gather would still copy, and on a CPU transpose, the weight
        weight = lax.all_gather(weight, rules.width, axis=axis, tiled=True)
    return varying(weight, *(axis for axis in ROWS if axis != rules.width))
