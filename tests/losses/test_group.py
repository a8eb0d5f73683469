import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import group


def test_ranks_are_within_the_group_and_of_equals_the_earlier_is_lower():
    x = jnp.array([[3.0, 1.0], [9.0, 9.0], [1.0, 2.0]])
    counted = jnp.array([[True, True], [True, True], [True, False]])
    got = group.rank(x, counted, jnp.array([4, -1, 4]))
    np.testing.assert_array_equal(got, [[2, 0], [0, 1], [1, 2]])
