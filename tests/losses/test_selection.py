import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import selection

# One program each: a hundred of single operations, on shapes that no other test has, take longer.
without_replacement = jax.jit(selection.without_replacement, static_argnames="share")
lucky = jax.jit(selection.luck)
highest = jax.jit(selection.highest)

IDS = jnp.array([4, 7, -1, 2])
ALL = jnp.ones(4, bool)
draw = functools.partial(without_replacement, share=0.5)


def test_a_share_of_the_counted_rows_is_drawn():
    drawn = draw(jnp.zeros(4), ALL, IDS, jax.random.key(0))
    assert drawn.sum() == 2
    drawn = draw(jnp.zeros(4), jnp.array([True, False, True, False]), IDS, jax.random.key(0))
    assert drawn.sum() == 1
    assert not drawn[jnp.array([1, 3])].any()
    assert not draw(jnp.zeros(4), ~ALL, IDS, jax.random.key(0)).any()


def test_rows_are_drawn_in_proportion_to_their_weights():
    keys = jax.random.split(jax.random.key(1), 4000)
    one = jax.vmap(lambda key: without_replacement(jnp.log(weights), ALL, IDS, key, share=0.25))
    weights = jnp.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(one(keys).mean(0), [0.1, 0.2, 0.3, 0.4], atol=0.03)


def test_the_draw_depends_on_ids_and_not_on_the_order():
    order = jnp.array([2, 0, 3, 1])
    drawn = draw(jnp.zeros(4), ALL, IDS, jax.random.key(3))
    np.testing.assert_array_equal(draw(jnp.zeros(4), ALL, IDS[order], jax.random.key(3)), drawn[order])


def test_the_highest_are_counted_ones_and_the_earlier_of_equals():
    x, counted = jnp.array([[3.0, 9.0, 3.0], [1.0, 3.0, 2.0]]), jnp.array([[True, False, True], [True, True, True]])
    got = highest(x, counted, jnp.int32(2))
    np.testing.assert_array_equal(got, [[True, False, True], [False, False, False]])
    np.testing.assert_array_equal(highest(x, counted, jnp.int32(99)), counted)


def test_shares_round_down_to_one_at_least():
    counted = jnp.arange(10) < 7
    assert [int(selection.share_of(counted, share)) for share in (0.0, 0.1, 0.5, 1.0)] == [1, 1, 3, 7]


def test_luck_belongs_to_tokens_and_not_to_places():
    groups = fx.ROLLOUT.groups
    groups = dataclasses.replace(groups, completions=jnp.arange(12).reshape(1, 4, 3) % 5)
    luck = lucky(groups, jax.random.key(0))
    order = jnp.array([2, 0, 3, 1])
    moved = jax.tree.map(lambda x: x[:, order] if x.ndim > 1 and x.shape[1] == 4 else x, groups)
    np.testing.assert_array_equal(lucky(moved, jax.random.key(0)), luck[:, order])
    more = ((0, 0), (0, 0), (0, 2))
    wide = dataclasses.replace(
        groups, completions=jnp.pad(groups.completions, more), completion_mask=jnp.pad(groups.completion_mask, more)
    )
    np.testing.assert_array_equal(lucky(wide, jax.random.key(0))[..., :3], luck)
    assert (lucky(groups, jax.random.key(1)) != luck).all()
    other = dataclasses.replace(groups, group_ids=groups.group_ids + 1)
    assert (lucky(other, jax.random.key(0)) != luck).all()


def test_luck_is_uniform_and_independent():
    shape = (64, 8, 8)
    words = jax.random.randint(jax.random.key(5), shape, 0, 50)
    groups = types.Groups(
        prompts=jnp.zeros((64, 1), int),
        prompt_lengths=jnp.ones(64, int),
        completions=words,
        completion_lengths=jnp.full((64, 8), 8),
        completion_mask=jnp.ones(shape, bool),
        group_ids=jnp.arange(64),
    )
    luck = np.asarray(lucky(groups, jax.random.key(0)), np.float64)
    assert len(np.unique(luck)) > 4000
    np.testing.assert_allclose([luck.mean(), luck.var()], [1 / 2, 1 / 12], atol=0.02)
    across = [
        np.corrcoef(luck[..., 0].ravel(), luck[..., 1].ravel()),
        np.corrcoef(luck[:, 0].ravel(), luck[:, 1].ravel()),
    ]
    assert max(abs(x[0, 1]) for x in across) < 0.15
