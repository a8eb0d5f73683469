"""What each platform runs best."""

import os

from jax.sharding import Mesh

from posttrain_jax.models import attention, splash

LEVEL = "xla_backend_optimization_level"


def attention_of(mesh: Mesh) -> attention.Attention:
    """The attention for the devices of `mesh`: the flash kernel on TPU, the einsum elsewhere."""
    return splash.attend if _kind(mesh) == "tpu" else attention.einsum


def quick(mesh: Mesh, *, gradients: bool = False) -> dict[str, int | bool] | None:
    """Compiler options under which a program compiles sooner and runs as fast; None for the platform's own.

    On a CPU programs spend their time in products, which come from a library; what the compiler's higher levels do to
    the rest was not to be measured, but took half of its time (docs/speed.md). A level in XLA_FLAGS goes first.

    Args:
        gradients: of a program that takes gradients; there alone the older emitters are slower, at exponentials.
    """
    if _kind(mesh) != "cpu" or LEVEL in os.environ.get("XLA_FLAGS", ""):
        return None
    return {LEVEL: 1} if gradients else {LEVEL: 1, "xla_cpu_use_fusion_emitters": False}


def _kind(mesh: Mesh) -> str:
    return mesh.devices.flat[0].platform
