"""What each platform runs best."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
from jax.core import eval_context
from jax.extend.core import get_opaque_trace_state
from jax.sharding import Mesh

from posttrain_jax.models import attention, splash

LEVEL = "xla_backend_optimization_level"


def attention_of(mesh: Mesh) -> attention.Attention:
    """The attention for the devices of `mesh`: the flash kernel on TPU, the einsum elsewhere."""
    return splash.attend if _kind(mesh) == "tpu" else attention.einsum


@dataclasses.dataclass(frozen=True)
class Quick:
    """A compiled function with compiler options, which JAX takes for whole programs: within another it has none."""

    alone: Any
    """Jitted with the options."""
    within: Any
    """Jitted without: for a call inside another program."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The function's result."""
        with eval_context():
            outside = get_opaque_trace_state()
        return (self.alone if get_opaque_trace_state() == outside else self.within)(*args, **named)

    def lower(self, *args: Any, **named: Any) -> jax.stages.Lowered:
        """As of a jitted function."""
        return self.alone.lower(*args, **named)


def jit(
    mesh: Mesh, *, out_shardings: Any, donate_argnums: tuple[int, ...] = (), level: int = 1
) -> Callable[[Callable], Any]:
    """`jax.jit` for programs on `mesh`: `jit(mesh, ...)(function)`, or above the function.

    Args:
        level: of the compiler, on a CPU. At the first a program is compiled sooner than at the usual one, and runs as
            fast (`experiments/benchmarks/compile_level.py`); 0 is for what takes longer to compile than it will ever
            run. A level in XLA_FLAGS goes first.
    """

    def compiled(function: Callable) -> Any:
        options = {"out_shardings": out_shardings, "donate_argnums": donate_argnums}
        usual = jax.jit(function, **options)
        if _kind(mesh) != "cpu" or LEVEL in os.environ.get("XLA_FLAGS", ""):
            return usual
        return Quick(jax.jit(function, **options, compiler_options={LEVEL: level}), within=usual)

    return compiled


def _kind(mesh: Mesh) -> str:
    return mesh.devices.flat[0].platform
