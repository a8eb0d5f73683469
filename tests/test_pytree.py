import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import pytree


@pytree.struct
class Pair:
    """Two arrays."""

    first: Float[Array, "n"]
    second: Float[Array, "n"] | None = None


def test_a_struct_is_a_tree_that_anything_may_be_put_into():
    pair = Pair(jnp.ones(2))
    assert jax.tree.map(lambda x: x.shape, pair).first == (2,)
    assert len(jax.tree.leaves(pair)) == 1
    assert [path[0].name for path, _ in jax.tree.leaves_with_path(Pair(jnp.ones(2), jnp.ones(2)))] == [
        "first",
        "second",
    ]
