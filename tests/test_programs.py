"""What the tests share: functions of equal contents, and nothing else."""

import functools

import numpy as np
import programs
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from posttrain_jax.losses import generator
from posttrain_jax.models import platform, sharding


def made(value, other=None):
    def plain(x):
        return x * value if other is None else other(x)

    return plain


def twice(x):
    return 2 * x


SAME = {
    "values": lambda: made(2.0),
    "functions within": lambda: made(1.0, made(3.0)),
    "dataclasses": lambda: made(generator.ReverseKL()),
    "mappings": lambda: made({"a": (1, 2)}),
    "partial": lambda: functools.partial(made(2.0), 1),
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_equal_contents_are_one(make):
    assert programs.contents(make()) == programs.contents(make())
    assert hash(programs.contents(make())) == hash(programs.contents(make()))


OTHERS = {
    "values": (made(2.0), made(3.0)),
    "kinds of number": (made(2.0), made(2)),
    "functions within": (made(1.0, made(3.0)), made(1.0, made(4.0))),
    "dataclasses": (made(generator.ReverseKL()), made(generator.ForwardKL())),
    "names": (made({"a": 1}), made({"b": 1})),
    "code": (made(2.0), twice),
    "arrays, which may change": (made(np.ones(2)), made(np.ones(2))),
}


@pytest.mark.parametrize(("one", "other"), OTHERS.values(), ids=OTHERS)
def test_others_are_not(one, other):
    assert programs.contents(one) != programs.contents(other)


def test_what_is_compiled_is_shared_but_for_a_test_apart():
    mesh = sharding.make_mesh()
    compiled = platform.jit(mesh, out_shardings=NamedSharding(mesh, PartitionSpec()))
    first = compiled(made(5.0))
    assert compiled(made(5.0)) is first
    assert compiled(made(6.0)) is not first
    with programs.apart():
        assert compiled(made(5.0)) is not first
    assert compiled(made(5.0)) is first
