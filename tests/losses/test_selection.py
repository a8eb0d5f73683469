import functools

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import selection

IDS = jnp.array([4, 7, -1, 2])
ALL = jnp.ones(4, bool)
draw = functools.partial(selection.without_replacement, share=0.5)


def test_a_share_of_the_counted_rows_is_drawn():
    drawn = draw(jnp.zeros(4), ALL, IDS, jax.random.key(0))
    assert drawn.sum() == 2
    drawn = draw(jnp.zeros(4), jnp.array([True, False, True, False]), IDS, jax.random.key(0))
    assert drawn.sum() == 1
    assert not drawn[jnp.array([1, 3])].any()
    assert not draw(jnp.zeros(4), ~ALL, IDS, jax.random.key(0)).any()


def test_rows_are_drawn_in_proportion_to_their_weights():
    keys = jax.random.split(jax.random.key(1), 4000)
    one = jax.vmap(lambda key: selection.without_replacement(jnp.log(weights), ALL, IDS, key, share=0.25))
    weights = jnp.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(one(keys).mean(0), [0.1, 0.2, 0.3, 0.4], atol=0.03)


def test_the_draw_depends_on_ids_and_not_on_the_order():
    order = jnp.array([2, 0, 3, 1])
    drawn = draw(jnp.zeros(4), ALL, IDS, jax.random.key(3))
    np.testing.assert_array_equal(draw(jnp.zeros(4), ALL, IDS[order], jax.random.key(3)), drawn[order])
