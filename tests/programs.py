"""Functions of equal contents are one compiled program.

Every run makes the functions that it compiles anew, so that JAX, which tells functions apart by identity, traces and
lowers each again for every run of a test. Here `platform.jit` knows a function by its code and by what its closure
holds, and gives back what it made of an equal one. What cannot be compared is equal to itself alone.
"""

import contextlib
import dataclasses
import functools
import inspect
import os
import types
from collections.abc import Mapping

import jax

from posttrain_jax.models import platform
from posttrain_jax.train import capacity

made, need = platform.jit, capacity.need
known, needs = {}, {}


class Same:
    """Equal to itself alone; keeps what it stands for alive, so that nothing else is taken for it."""

    def __init__(self, one):
        self.one = one

    def __eq__(self, other):
        return isinstance(other, Same) and self.one is other.one

    def __hash__(self):
        return id(self.one)


def contents(x, outside=()):
    """What tells a value from another."""
    if any(x is one for one in outside):
        return "itself"
    inner = functools.partial(contents, outside=(*outside, x))
    if isinstance(x, types.FunctionType):
        plain = inspect.unwrap(x)
        cells = [cell.cell_contents for cell in plain.__closure__ or ()]
        return (
            plain.__code__,
            Same(plain.__globals__),
            inner(cells),
            inner(plain.__defaults__),
            inner(plain.__kwdefaults__),
        )
    if isinstance(x, types.MethodType):
        return inner(x.__func__), inner(x.__self__)
    if isinstance(x, functools.partial):
        return functools.partial, inner(x.func), inner(x.args), inner(x.keywords)
    if isinstance(x, Mapping):
        return type(x), tuple((name, inner(one)) for name, one in x.items())
    if isinstance(x, list | tuple):
        return type(x), tuple(map(inner, x))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return type(x), tuple(inner(getattr(x, field.name)) for field in dataclasses.fields(x))
    try:
        hash(x)
    except TypeError:
        return Same(x)
    return type(x), x


def jit(mesh, *, out_shardings, donate_argnums=(), level=1):
    """`platform.jit`."""
    leaves, shape = jax.tree.flatten(out_shardings)
    options = os.environ.get("XLA_FLAGS"), jax.config.read("jax_disable_most_optimizations")
    how = mesh, tuple(leaves), shape, donate_argnums, level, options

    def compiled(function):
        key = how, contents(function)
        if key not in known:
            known[key] = made(mesh, out_shardings=out_shardings, donate_argnums=donate_argnums, level=level)(function)
        return known[key]

    return compiled


def need_once(name, stage, *args):
    """`capacity.need`, which asks a compiled program once."""
    if all(stage is not one for one in known.values()):
        return need(name, stage, *args)
    leaves, shape = jax.tree.flatten(args)
    key = Same(stage), shape, tuple((x.shape, x.dtype, getattr(x, "sharding", None)) for x in leaves)
    if key not in needs:
        needs[key] = need(name, stage, *args)
    return needs[key]


def share():
    """From now on."""
    platform.jit, capacity.need = jit, need_once


@contextlib.contextmanager
def apart():
    """None is shared with other tests: for a test that counts what is compiled or changes what is traced."""
    kept = dict(known), dict(needs)
    known.clear()
    needs.clear()
    yield
    for there, before in zip((known, needs), kept, strict=True):
        there.clear()
        there.update(before)
