"""A teacher on another mesh says what it says on the policy's."""

import dataclasses

import bigram
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import types
from posttrain_jax.losses import generator
from posttrain_jax.models import config, sharding, vocabulary
from posttrain_jax.recipes.distillation.gkd import GKD
from posttrain_jax.recipes.distillation.kdrl import KDRL
from posttrain_jax.recipes.distillation.live_top_k import LiveTopK
from posttrain_jax.train import compared, credit, reference, update

WORDS = vocabulary.characters("abcd=")
RECIPE = GKD(generator.ReverseKL())
PLACES = {"here": {"fsdp": 8}, "tensor": {"tensor": 8}, "fewer": {"data": 2, "tensor": 2}}


def model(vocab=32, **mesh):
    shape = dataclasses.replace(bigram.small(vocab), num_kv_heads=8, num_heads=8)
    return bigram.Bigram(shape, config.Compute(head_chunk=4), sharding.make_mesh(**mesh))


def fixed(**mesh):
    teacher = model(**mesh)
    return {"teacher": reference.Fixed(teacher, teacher.init(jax.random.key(1)), WORDS)}


@pytest.fixture(scope="module")
def found(tiny):
    """By place of the teacher: its parameters as the student sees them, gradients, and what KDRL is told."""
    student = model(fsdp=8)
    start, groups, found = student.init(jax.random.key(0)), tiny.groups(student, P=16), {}
    zeros = jnp.zeros((16, 2, 6))
    rollout = types.Rollout(groups, types.TokenStats(zeros, zeros), jnp.zeros((16, 2), bool))
    state = types.TrainState(start, (), jnp.int32(0), jax.random.key(0), jnp.int32(0))
    for place, mesh in PLACES.items():
        others = compared.of(RECIPE, student, fixed(**mesh), WORDS)
        params = others.params(start, groups)
        compute = jax.jit(update.make_gradients(student, RECIPE, micro_batches=2, fixed=others.models))
        grads = compute(start, groups, RECIPE.credit(groups), fixed_params=params)
        give = credit.make_online(student, KDRL(), lambda *_: None, others.models, temperature=0.7)
        batch, *_ = give(state, start, rollout, jnp.ones((16, 2)), {}, params)
        found[place] = params["teacher"], grads, batch.extra["teacher_logps"]
    return found


@pytest.mark.parametrize("place", ["tensor", "fewer"])
def test_gradients_and_log_probabilities_are_those_of_a_teacher_on_the_same_mesh(found, place):
    (_, (grads, numbers), logps), (_, (expected, wanted), others) = found[place], found["here"]
    assert wanted["teacher_divergence"] > 0.1
    for name, value in wanted.items():
        np.testing.assert_allclose(numbers[name], value, rtol=1e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(logps, others, atol=1e-5)


def test_its_likeliest_entries_are_found_wherever_it_is(tiny):
    """Also the student's, as the teacher sees them."""
    student = model(fsdp=8)
    start, groups = student.init(jax.random.key(0)), tiny.groups(student, P=16)
    state = types.TrainState(start, (), jnp.int32(0), jax.random.key(0), ())
    for likely_to in ("teacher", "policy"):
        recipe, entries = LiveTopK(3, likely_to=likely_to), []
        for mesh in ({"fsdp": 8}, {"tensor": 8}):
            others = compared.of(recipe, student, fixed(**mesh), WORDS)
            give = credit.make_offline(student, recipe, lambda *_: None, others.models)
            batch, *_ = give(state, start, groups, {}, others.params(start, groups))
            entries.append(batch.extra)
        np.testing.assert_array_equal(entries[0]["ids"], entries[1]["ids"])
        np.testing.assert_allclose(entries[0]["log_probs"], entries[1]["log_probs"], atol=1e-5)


def test_what_is_moved_lies_as_the_students_own(found):
    moved = found["tensor"][0]
    assert moved.hidden.shape == (16, 2, 6, 8)
    assert moved.hidden.sharding.spec == Spec(sharding.ROWS)
    assert moved.hidden.sharding.mesh.shape["fsdp"] == 8
    assert moved.weight.sharding.shard_shape(moved.weight.shape) == (1, 32)


def test_neither_program_holds_the_logits(tiny):
    """256 tokens a device and 4096 entries are 4 MiB of logits; the program with a moved teacher takes no more."""
    needed = {}
    student = model(4096, fsdp=8)
    groups, start = tiny.groups(student, P=16, T=128), student.init(jax.random.key(0))
    for place, mesh in (("here", {"fsdp": 8}), ("tensor", {"tensor": 8})):
        teacher = model(4096, **mesh)
        there = {"teacher": reference.Fixed(teacher, teacher.init(jax.random.key(1)), WORDS)}
        others = compared.of(RECIPE, student, there, WORDS)
        compute = jax.jit(update.make_gradients(student, RECIPE, fixed=others.models))
        given = RECIPE.credit(groups), None, None, others.params(start, groups)
        needed[place] = compute.lower(start, groups, *given).compile().memory_analysis().temp_size_in_bytes
    assert needed["tensor"] <= needed["here"] < 2**20


def test_rows_that_the_teachers_mesh_cannot_share_are_refused(tiny):
    student = model()
    others = compared.of(RECIPE, student, fixed(data=8), WORDS)
    with pytest.raises(ValueError, match=r"4 rows cannot be shared by the 8 row shards .* of 'teacher'"):
        others.params({}, tiny.groups(student, P=4))


def test_a_teacher_with_another_tokenizer_is_refused():
    student, teacher = model(), fixed()
    other = {"teacher": dataclasses.replace(teacher["teacher"], tokenizer=vocabulary.characters("bacd="))}
    with pytest.raises(ValueError, match="Student and teacher have different tokenizers: 2 tokens, 'a' among them"):
        compared.of(RECIPE, student, other, WORDS)
    with pytest.raises(ValueError, match=r"the policy's tokenizer is not told, and that of \['teacher'\]"):
        compared.of(RECIPE, student, teacher, None)
    assert set(compared.of(RECIPE, student, teacher, vocabulary.characters("abcd=")).models) == {"ref", "teacher"}
