"""What each platform runs best."""

import functools
import os
from typing import Any

import jax
from jax.sharding import Mesh

from posttrain_jax.models import attention, splash

LEVEL = "xla_backend_optimization_level"


def attention_of(mesh: Mesh) -> attention.Attention:
    """The attention for the devices of `mesh`: the flash kernel on TPU, the einsum elsewhere."""
    return splash.attend if _kind(mesh) == "tpu" else attention.einsum


def jit(mesh: Mesh, **settings: Any) -> functools.partial:
    """`jax.jit` with these settings, for programs on `mesh`; `jit(mesh)(function)`, or above the function.

    On a CPU a program is compiled at the compiler's first level: sooner, and it runs as fast, as its time goes into
    products, which come from a library (docs/speed.md). A level in XLA_FLAGS goes first.
    """
    return functools.partial(jax.jit, compiler_options=_options(mesh), **settings)


def _options(mesh: Mesh) -> dict[str, int] | None:
    """None for the platform's own."""
    return {LEVEL: 1} if _kind(mesh) == "cpu" and LEVEL not in os.environ.get("XLA_FLAGS", "") else None


def _kind(mesh: Mesh) -> str:
    return mesh.devices.flat[0].platform
