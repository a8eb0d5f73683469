"""What each platform runs best."""

import os

from jax.sharding import Mesh

from posttrain_jax.models import attention, splash

LEVEL = "xla_backend_optimization_level"


def attention_of(mesh: Mesh) -> attention.Attention:
    """The attention for the devices of `mesh`: the flash kernel on TPU, the einsum elsewhere."""
    return splash.attend if _kind(mesh) == "tpu" else attention.einsum


def quick(mesh: Mesh) -> dict[str, int] | None:
    """Compiler options under which a program compiles sooner and runs as fast; None for the platform's own.

    On a CPU programs spend their time in products, which come from a library (docs/speed.md). A level in XLA_FLAGS goes
    first.
    """
    return {LEVEL: 1} if _kind(mesh) == "cpu" and LEVEL not in os.environ.get("XLA_FLAGS", "") else None


def _kind(mesh: Mesh) -> str:
    return mesh.devices.flat[0].platform
