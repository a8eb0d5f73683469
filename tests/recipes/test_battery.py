"""What every recipe must satisfy, run over `cases.CASES`."""

import dataclasses
import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import types

EACH = pytest.mark.parametrize("case", cases.CASES.values(), ids=cases.CASES)
ONLINE = {name: case for name, case in cases.CASES.items() if case.credit not in cases.OFFLINE}
WITH_REF = {name: case for name, case in cases.CASES.items() if case.recipe.needs_ref}
EACH_ONLINE = pytest.mark.parametrize("case", ONLINE.values(), ids=ONLINE)


def step(case, policy, batch):
    """Loss and its gradient with respect to the policy's statistics."""
    return jax.value_and_grad(lambda policy: case.recipe.loss(policy, batch)[0])(policy)


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compiles in half the time, which is most of the time here."""
jitted_step = jit(step, static_argnums=0)
credited = jit(lambda case, data: case.batch(data), static_argnums=0)


@functools.partial(jit, static_argnums=0)
def run(case, data):
    """Credit, then `step`, compiled as one."""
    return step(case, data.policy, case.batch(data))


def close(got, expected, atol=2e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5), got, expected)


@EACH
def test_there_is_something_to_learn(case):
    loss, gradient = run(case, cases.random(case))
    assert np.isfinite(loss)
    assert np.abs(gradient.logps).max() > 1e-4


@EACH
def test_rows_add_up(case):
    data = cases.random(case)
    batch = credited(case, data)
    loss, gradient = jitted_step(case, data.policy, batch)
    parts = [cases.change(lambda x, i=i: x[i::4], (data.policy, batch)) for i in range(4)]
    losses, gradients = zip(*(jitted_step(case, *part) for part in parts), strict=True)
    close(np.sum(losses), loss)
    strided = cases.change(lambda *xs: np.stack(xs, axis=1).reshape(-1, *xs[0].shape[1:]), *gradients)
    close(strided, gradient)


@EACH
def test_devices_add_up(case):
    data = cases.random(case)
    batch = credited(case, data)

    def local(policy, batch):
        loss, gradient = step(case, policy, batch)
        return jax.lax.psum(loss, "data"), gradient

    rows = Spec("data")
    mesh = Mesh(np.array(jax.devices()), "data")
    cut = jit(jax.shard_map(local, mesh=mesh, in_specs=(rows, rows), out_specs=(Spec(), rows)))
    assert mesh.size == 8
    close(cut(data.policy, batch), jitted_step(case, data.policy, batch))


@EACH
def test_padding_has_no_gradient(case):
    data = cases.random(case)
    _, gradient = run(case, data)
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(np.asarray(leaf)[~np.asarray(data.groups.completion_mask)], 0)


@EACH
def test_more_padding_changes_nothing(case):
    data = cases.random(case)

    def pad(x):
        return np.pad(x, ((0, 0), (0, 0), (0, 3))) if x.ndim == 3 else x

    loss, gradient = run(case, data)
    close(run(case, cases.change(pad, data)), (loss, cases.change(pad, gradient)))


@EACH
def test_rows_without_tokens_change_nothing(case):
    data = cases.random(case)
    empty = cases.change(np.zeros_like, data)
    empty = dataclasses.replace(empty, rewards=cases.floats(np.full(data.rewards.shape, np.nan)))
    both = cases.change(lambda a, b: np.concatenate([a, b]), data, empty)
    loss, gradient = run(case, data)
    got_loss, got_gradient = run(case, both)
    close(got_loss, loss)
    close(cases.change(lambda x: x[: len(data.rewards)], got_gradient), gradient)
    assert not any(np.asarray(x)[len(data.rewards) :].any() for x in jax.tree.leaves(got_gradient))


@EACH
def test_the_order_of_rows_does_not_matter(case):
    data = cases.random(case)
    order = np.random.default_rng(1).permutation(len(data.rewards))
    loss, gradient = run(case, data)
    got = run(case, cases.change(lambda x: x[order], data))
    close(got, (loss, cases.change(lambda x: x[order], gradient)))


@EACH_ONLINE
def test_the_order_within_a_group_does_not_matter(case):
    data = cases.random(case)
    order = np.array([2, 0, 3, 1])

    def permute(x):
        return x[:, order] if x.ndim >= 2 and x.shape[1] == case.group_size else x

    loss, gradient = run(case, data)
    close(run(case, cases.change(permute, data)), (loss, cases.change(permute, gradient)))


@EACH_ONLINE
def test_a_group_may_span_rows(case):
    data = cases.random(case)

    def halve(x):
        wide = x.ndim >= 2 and x.shape[1] == case.group_size
        return x.reshape(2 * len(x), 2, *x.shape[2:]) if wide else np.repeat(x, 2, axis=0)

    loss, gradient = run(case, data)
    close(run(case, cases.change(halve, data)), (loss, cases.change(halve, gradient)))


@EACH_ONLINE
def test_failed_rewards_carry_no_gradient_and_leave_the_group(case):
    data = cases.random(case)
    loss, gradient = run(case, data)
    np.testing.assert_array_equal(np.asarray(gradient.logps)[-1, 0], 0)
    mask = data.groups.completion_mask.at[-1, 0].set(False)
    without = dataclasses.replace(data, groups=dataclasses.replace(data.groups, completion_mask=mask))
    close(run(case, without), (loss, gradient))


@EACH_ONLINE
def test_groups_of_equal_rewards_rest(case):
    data = cases.random(case)
    data = dataclasses.replace(
        data, rewards=cases.floats(np.full(data.rewards.shape, 0.1)), old=data.policy, ref=data.policy
    )
    _, gradient = run(case, data)
    moves = any(np.any(leaf) for leaf in jax.tree.leaves(gradient))
    assert moves != case.flat_groups_rest


@EACH_ONLINE
def test_without_old_the_gradient_is_that_of_an_unmoved_policy(case):
    data = cases.random(case)
    data = dataclasses.replace(data, old=data.policy)
    batch = credited(case, data)
    expected = jitted_step(case, data.policy, batch)
    close(jitted_step(case, data.policy, dataclasses.replace(batch, old_logps=None)), expected)


@EACH
def test_eager_equals_jit(case):
    data = cases.random(case)
    close(step(case, data.policy, case.batch(data)), run(case, data))


@EACH
def test_vmap(case):
    many = [cases.random(case, seed=seed) for seed in range(3)]
    pairs = [(data.policy, credited(case, data)) for data in many]
    stacked = cases.change(lambda *xs: np.stack(xs), *pairs)
    losses, _ = jit(jax.vmap(lambda policy, batch: step(case, policy, batch)))(*stacked)
    close(losses, np.stack([jitted_step(case, *pair)[0] for pair in pairs]))


EXTREMES = {
    "far apart": {"spread": 50.0},
    "one token": {"length": 1},
    "one row": {"rows": 1},
}


@EACH
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extremes_stay_finite(case, extreme):
    check_finite(case, cases.random(case, **EXTREMES[extreme]))


@EACH
def test_batches_without_tokens_are_still(case):
    data = cases.random(case)
    nothing = cases.change(lambda x: np.zeros_like(x) if x.ndim == 3 else x, data)
    loss, gradient = check_finite(case, nothing)
    assert loss == 0
    assert not any(map(np.any, jax.tree.leaves(gradient)))


@EACH_ONLINE
def test_groups_of_one_stay_finite(case):
    case = dataclasses.replace(case, group_size=1)
    data = cases.random(case)
    alone = dataclasses.replace(data.groups, group_ids=jnp.arange(len(data.rewards)))
    check_finite(case, dataclasses.replace(data, groups=alone))


@EACH_ONLINE
def test_batches_whose_scoring_failed_are_still(case):
    data = cases.random(case)
    loss, _ = check_finite(case, dataclasses.replace(data, rewards=cases.floats(np.full(data.rewards.shape, np.nan))))
    assert loss == 0


def check_finite(case, data):
    loss, gradient = run(case, data)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((loss, gradient)))
    return loss, gradient


@EACH
def test_metrics_are_arrays_by_row_and_finite(case):
    data = cases.random(case)
    _, metrics = case.recipe.loss(data.policy, credited(case, data))
    assert metrics
    for name, metric in metrics.items():
        assert metric.shape == data.groups.completion_mask.shape[: metric.ndim], name
        assert metric.ndim >= 1, name
        assert np.isfinite(metric).all(), name


@EACH
def test_a_recipe_is_a_value(case):
    recipe = case.recipe
    assert hash(recipe) == hash(dataclasses.replace(recipe))
    assert recipe == dataclasses.replace(recipe)
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.recipe.__setattr__("eps", 0.0)
    assert isinstance(case.batch(cases.random(case)), types.Batch)


@pytest.mark.parametrize("case", WITH_REF.values(), ids=WITH_REF)
def test_a_missing_reference_is_refused_in_words(case):
    data = cases.random(case)
    with pytest.raises(ValueError, match="ref_logps"):
        case.recipe.loss(data.policy, case.credit(case.recipe, dataclasses.replace(data, ref=None)))
