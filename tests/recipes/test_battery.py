"""What every recipe must satisfy, run over the tables of `*_cases.py`.

Compiling takes nearly all of the time, so the tests share two programs on each of two shapes, those of `random` and of
`small`. `conftest.py` orders the tests by recipe, so that what one compiled the next one finds.
What needs programs of its own is asked of recipes of every kind by default (`SHOWN`), and of all with `-m slow`.
"""

import dataclasses
import functools

import cases
import distillation_cases
import jax
import jax.numpy as jnp
import numpy as np
import policy_cases
import preference_cases
import pytest
import reward_model_cases
import sparing
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import types
from posttrain_jax.losses import pairing

CASES = preference_cases.CASES | policy_cases.CASES | distillation_cases.CASES | reward_model_cases.CASES
ONLINE = {name: case for name, case in CASES.items() if case.credit not in cases.OFFLINE}
WITH_REF = {
    n: case
    for n, case in CASES.items()
    if case.recipe.needs_ref and case.credit not in (cases.informed, cases.playing, cases.looking, cases.distilled)
}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
SHOWN = {
    *("grpo", "gspo", "ppo", "rank_grpo", "fdpg", "kdrl", "spo", "trpa"),
    *("sft", "fenchel_sft", "dpo", "f_dpo", "plackett_luce_dpo", "kto", "tdpo2", "sparse_po"),
    *("gkd", "sink_kd", "bradley_terry", "general_preference", "process_reward"),
}
"""Of every kind of batch and statistics, and with every loop that a loss runs."""
EACH_SHOWN = pytest.mark.parametrize("case", sparing.some(CASES, *SHOWN))
SPANNING = {name: case for name, case in ONLINE.items() if case.spans_rows}
EACH_SPANNING = pytest.mark.parametrize("case", SPANNING.values(), ids=SPANNING)
EACH_ONLINE = pytest.mark.parametrize("case", ONLINE.values(), ids=ONLINE)
MOVING = {name: case for name, case in ONLINE.items() if case.credit not in (cases.distilled, cases.playing)}
POLICY = {name: case for name, case in ONLINE.items() if name in policy_cases.CASES}
EACH_POLICY = pytest.mark.parametrize("case", POLICY.values(), ids=POLICY)
EACH_MOVING = pytest.mark.parametrize("case", MOVING.values(), ids=MOVING)


HELD_STILL = {"gtpo", "vespo", "rec", "topr", "scale_rl", "cispo", "p3o", "p3o_separate", "kdrl", "gated_bradley_terry"}
"""Losses in which a factor has no gradient: theirs is not their slope."""
BENT = {
    "reg_grpo": "its advantages are slopes of a mean over completions already",
    "geometric_reference": "its reference is another model than the one asked here",
    "vapo": "it imitates what was right",
    "value_pretraining": "it learns values alone",
    "rank_grpo": "a segment's ratio is a mean over its tokens",
    **dict.fromkeys(("p3o", "p3o_separate"), "it learns from pairs"),
}
"""Recipes whose gradient on policy is not that of REINFORCE with their advantages and weights."""
ABSOLUTE = {
    **dict.fromkeys(("reinforce", "topr"), "their baseline is a number"),
    **dict.fromkeys(("ppo", "vapo", "value_pretraining", "rto"), "a critic has to learn the rewards as they are"),
    **dict.fromkeys(
        ("apo", "ares", "filtered", "thr", "nthr", "grpo_lead", "disco", "disco_ratio"), "ask what is right"
    ),
    **dict.fromkeys(("otc", "unlikeliness"), "multiply the reward"),
    "gigpo": "what is paid at the end is discounted by turns",
    "maxmin": "the other reward stays where it is",
}
"""Recipes to which it matters when a constant is added to all rewards."""
STANDARDISED = {
    *("grpo", "grpo_without_ref", "dapo", "gtpo", "grpo_d", "tw_grpo", "unrepetitive", "bgpo", "branch_grpo"),
    *("clip_cov", "kl_cov", "reg_grpo", "dcpo", "vespo", "opsm", "mis", "tis", "geometric_reference"),
    *("adaptive_entropy", "scale_rl", "forking_tokens", "two_sided_grpo", "lite_ppo", "sapo", "gmpo", "cispo"),
    *("luspo", "gspo_token", "gspo", "reinforce_pp_baseline", "kl_limited", "salt", "segmented", "with_given"),
    *("grao", "spo", "apo", "unlikeliness", "filtered", "thr", "nthr", "disco", "disco_ratio"),
}
"""Recipes to which the unit of the rewards does not matter."""
SLOPED = {name: case for name, case in CASES.items() if name not in preference_cases.CASES}


def step(case, policy, batch):
    """Loss, its gradient with respect to the policy's statistics, and metrics."""
    (loss, metrics), gradient = jax.value_and_grad(lambda policy: case.recipe.loss(policy, batch), has_aux=True)(policy)
    return loss, gradient, metrics


jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""Compiles in half the time, which is most of the time here."""
stepped = jit(step, static_argnums=0)
credited = jit(lambda case, data: case.batch(data), static_argnums=0)


def whole(case, data):
    """The credited batch and all of its step."""
    batch = credited(case, data)
    return batch, stepped(case, data.policy, batch)


def differentiate(case, policy, batch):
    """Loss and gradient of a credited batch."""
    return stepped(case, policy, batch)[:2]


def run(case, data):
    """Loss and gradient of data that are credited first."""
    return whole(case, data)[1][:2]


def close(got, expected, atol=2e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5), got, expected)


def small(case, rows=4, length=3):
    """Fewer rows of fewer tokens."""
    return cases.random(case, rows=rows, length=length, seed=3)


def padded(tree, rows=4, tokens=2):
    """More padding tokens in every completion, and empty rows behind the others."""

    def one(x):
        room = [(0, 0)] * x.ndim
        room[0] = (0, rows)
        if x.ndim >= 3:
            room[2] = (0, tokens)
        return np.pad(x, room)

    return cases.change(one, tree)


def embedded(data, rows=8, length=5):
    """In the shape of `random`; nothing scored what is empty."""
    there, _, tokens = data.groups.completion_mask.shape
    wide = padded(data, rows - there, length - tokens)
    unscored = np.where(np.arange(rows)[:, None] < there, np.asarray(wide.rewards), np.nan)
    return dataclasses.replace(wide, rewards=cases.floats(unscored))


def emptied(tree, rows):
    """Nothing in these rows."""

    def one(x):
        gone = np.isin(np.arange(len(x)), rows).reshape(-1, *[1] * (x.ndim - 1))
        return np.where(gone, np.zeros((), x.dtype), x)

    return cases.change(one, tree)


def exchanged(data):
    """Every second completion of a row changes places with that of the row before, which shares its prompt."""
    rows, group_size = data.rewards.shape
    row, place = np.meshgrid(np.arange(rows), np.arange(group_size), indexing="ij")
    source = np.where(place % 2 == 1, row ^ 1, row)

    def one(x):
        return x[source, place] if x.ndim >= 2 and x.shape[1] == group_size else x

    return functools.partial(cases.change, one)


@EACH
def test_there_is_something_to_learn(case):
    loss, gradient = run(case, cases.random(case))
    assert np.isfinite(loss)
    moved = gradient if case.scores else (gradient.logps, gradient.values, gradient.divergences)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(moved)) > 1e-4


@pytest.mark.parametrize("case", SLOPED.values(), ids=SLOPED)
def test_the_gradient_is_the_slope_of_the_loss(case, request):
    """Central differences in float64 along one line; those of preferences: `preference/test_worked_gradients.py`."""
    data = cases.random(case)
    (batch, (_, gradient, _)), random = whole(case, data), np.random.default_rng(5)
    # padding has no gradient (below), so that the line may leave it alone
    way = jax.tree.map(lambda x: np.where(np.asarray(x) != 0, random.normal(size=x.shape), 0), data.policy)
    got = sum(np.sum(np.float64(g) * v) for g, v in zip(*map(jax.tree.leaves, (gradient, way)), strict=True))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        double = lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x  # noqa: E731
        policy, batch = jax.tree.map(double, (data.policy, batch))
        ends = [jax.tree.map(lambda p, v: p + x * v, policy, way) for x in (1e-4, -1e-4)]  # noqa: B023
        up, down = (float(case.recipe.loss(end, batch)[0]) for end in ends)
    close = np.isclose(got, (up - down) / 2e-4, rtol=1e-4, atol=1e-6)
    assert close != (request.node.callspec.id in HELD_STILL)


@EACH
def test_rows_add_up(case):
    data = cases.random(case)
    batch, (loss, gradient, _) = whole(case, data)
    parts = [(emptied(data.policy, rows), emptied(batch, rows)) for rows in (range(0, 3), range(3, 8))]
    losses, gradients = zip(*(differentiate(case, *part) for part in parts), strict=True)
    close((np.sum(losses), cases.change(lambda a, b: a + b, *gradients)), (loss, gradient))


@EACH_SHOWN
def test_devices_add_up_also_under_vmap(case):
    data = [cases.random(case), cases.random(case, seed=1)]
    batches, steps = zip(*(whole(case, one) for one in data), strict=True)
    parts = [(one.policy, batch) for one, batch in zip(data, batches, strict=True)]
    steps = [one[:2] for one in steps]

    def local(policy, batch):
        losses, gradients, _ = jax.vmap(lambda *one: step(case, *one))(policy, batch)
        return jax.lax.psum(losses, "data"), gradients

    rows = Spec(None, "data")
    mesh = Mesh(np.array(jax.devices()), "data")
    cut = jit(jax.shard_map(local, mesh=mesh, in_specs=(rows, rows), out_specs=(Spec(), rows)))
    assert mesh.size == 8
    got = cut(*cases.change(lambda *xs: np.stack(xs), *parts))
    close(got, cases.change(lambda *xs: np.stack(xs), *steps))


@EACH
def test_padding_and_empty_rows_change_nothing(case):
    data = small(case)
    loss, gradient = run(case, data)
    got_loss, got_gradient = run(case, embedded(data))
    close(got_loss, loss)
    rows = len(data.rewards)
    close(cases.change(lambda x: x[:rows], got_gradient), padded(gradient, 0))
    assert not any(np.asarray(x)[rows:].any() for x in jax.tree.leaves(got_gradient))


@EACH_SPANNING
def test_a_group_may_span_rows(case):
    data = cases.random(case)
    ids = np.asarray(data.groups.group_ids)
    np.testing.assert_array_equal(ids[::2], ids[1::2])
    others = exchanged(data)
    loss, gradient = run(case, data)
    close(run(case, others(data)), (loss, others(gradient)))


@EACH_ONLINE
def test_groups_of_one_stay_finite(case):
    data = cases.random(case)
    scored = (np.arange(len(data.rewards)) % 2 == 1)[:, None] & (np.arange(case.group_size) == 2)
    check_finite(case, dataclasses.replace(data, rewards=cases.floats(np.where(scored, data.rewards, np.nan))))


@pytest.mark.parametrize("case", sparing.some(CASES, "grpo", "ppo", "dpo", "kto", "gkd", "bradley_terry"))
def test_eager_equals_jit(case):
    data = cases.random(case)
    loss, _ = case.recipe.loss(data.policy, case.batch(data))
    close(loss, run(case, data)[0])


@EACH
def test_extremes_stay_finite(case):
    check_finite(case, cases.random(case, spread=50.0))
    check_finite(case, embedded(cases.random(case, rows=1, length=1)))


@EACH_SHOWN
def test_one_row_of_one_token_stays_finite(case):
    check_finite(case, cases.random(case, rows=1, length=1))


@EACH
def test_single_tokens_stay_finite(case):
    data = cases.random(case)
    length = data.groups.completion_mask.shape[2]
    first = np.arange(length) == 0
    data = cases.change(
        lambda x: x * first.astype(x.dtype).reshape(length, *[1] * (x.ndim - 3)) if x.ndim >= 3 else x, data
    )
    lengths = jnp.ones_like(data.groups.completion_lengths)
    check_finite(case, dataclasses.replace(data, groups=dataclasses.replace(data.groups, completion_lengths=lengths)))


@EACH
def test_metrics_are_arrays_by_row_and_finite(case):
    data = cases.random(case)
    _, (_, _, metrics) = whole(case, data)
    assert metrics
    for name, metric in metrics.items():
        assert metric.shape == data.groups.completion_mask.shape[: metric.ndim], name
        assert metric.ndim >= 1, name
        assert np.isfinite(metric).all(), name


@EACH
def test_padding_has_no_gradient(case):
    data = cases.random(case)
    _, gradient = run(case, data)
    for leaf in (x for x in jax.tree.leaves(gradient) if x.ndim >= 3):
        np.testing.assert_array_equal(np.asarray(leaf)[~np.asarray(data.groups.completion_mask)], 0)


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
def test_failed_rewards_carry_no_gradient_and_leave_the_group(case):
    data = cases.random(case)
    loss, gradient = run(case, data)
    for leaf in jax.tree.leaves((gradient.logps, gradient.values)):
        np.testing.assert_array_equal(np.asarray(leaf)[-1, 0], 0)
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


@EACH_MOVING
def test_without_old_the_gradient_is_that_of_an_unmoved_policy(case):
    data = cases.random(case)
    data = dataclasses.replace(data, old=data.policy)
    batch, (*expected, _) = whole(case, data)
    close(differentiate(case, data.policy, dataclasses.replace(batch, old_logps=None)), tuple(expected))


@EACH_POLICY
def test_on_policy_the_gradient_is_that_of_reinforce(case, request):
    """At -w A: no ratio, range, gate or penalty has a slope of its own where policy, old and reference are one."""
    data = cases.random(case)
    batch, (_, gradient, _) = whole(case, dataclasses.replace(data, old=data.policy, ref=data.policy))
    plain = -np.asarray(batch.token_weights) * np.asarray(batch.advantages)
    assert np.allclose(gradient.logps, plain, atol=2e-6, rtol=1e-5) != (request.node.callspec.id in BENT)


@EACH_POLICY
def test_shift_and_unit_of_rewards(case, request):
    """The shift leaves all that the cases derive from a sine of the rewards as it is."""
    name, data = request.node.callspec.id, cases.random(case)

    def gradient(change):
        return run(case, dataclasses.replace(data, rewards=cases.floats(change(np.asarray(data.rewards)))))[1]

    here, shifted, scaled = (gradient(f) for f in (lambda r: r, lambda r: r + 2 * np.pi / 3, lambda r: 4 * r))
    same = lambda a, b, **near: all(map(functools.partial(np.allclose, **near), *map(jax.tree.leaves, (a, b))))  # noqa: E731
    assert same(shifted, here, atol=3e-6, rtol=1e-4) != (name in ABSOLUTE)
    assert same(scaled, here, atol=1e-5, rtol=2e-3) == (name in STANDARDISED)  # eps stands beside the deviation


@EACH
def test_batches_without_tokens_are_still(case):
    data = cases.random(case)
    nothing = cases.change(lambda x: np.zeros_like(x) if x.ndim >= 3 else x, data)
    loss, gradient = check_finite(case, nothing)
    assert loss == 0
    assert not any(map(np.any, jax.tree.leaves(gradient)))


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
def test_a_recipe_is_a_value(case):
    recipe = case.recipe
    assert hash(recipe) == hash(dataclasses.replace(recipe))
    assert recipe == dataclasses.replace(recipe)
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.recipe.__setattr__("eps", 0.0)
    assert isinstance(credited(case, cases.random(case)), types.Batch | pairing.ComparedBatch)


@pytest.mark.parametrize("case", WITH_REF.values(), ids=WITH_REF)
def test_a_missing_reference_is_refused_in_words(case):
    data = cases.random(case)
    with pytest.raises(ValueError, match="ref_logps"):
        jax.eval_shape(
            lambda data: case.recipe.loss(data.policy, case.batch(dataclasses.replace(data, ref=None))), data
        )
