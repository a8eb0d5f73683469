"""A tree as arrays by name, the form in which it is stored, and a checksum of them that no mesh changes."""

import base64
import functools
import zlib
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jaxtyping import Array, PyTree, UInt

from posttrain_jax.models import platform


def flatten(tree: PyTree) -> dict[str, Array]:
    """Arrays by their dotted path; typed keys as their data, the only form that is stored."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): key_data(x) for path, x in leaves}


def targets(tree: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    """What `flatten` would give, as shapes, dtypes and shardings."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): key_target(x) for path, x in leaves}


def unflatten(like: PyTree, arrays: dict[str, Array]) -> PyTree:
    """The tree that `flatten` took apart."""

    def one(path: tuple, x: Array | jax.ShapeDtypeStruct) -> Array:
        array = arrays[jax.tree_util.keystr(path, simple=True, separator=".")]
        return jax.random.wrap_key_data(array) if is_key(x) else array

    return jax.tree.map_with_path(one, like)


def is_key(x: Array | jax.ShapeDtypeStruct) -> bool:
    """Whether `x` is a typed PRNG key."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def key_data(x: Array) -> Array:
    """The words of a key; anything else as it is."""
    return jax.random.key_data(x) if is_key(x) else x


def key_target(x: Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Shape, dtype and sharding of `key_data(x)`."""
    shape = jax.eval_shape(key_data, x)
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=x.sharding)


def kind(x: Any) -> str:
    """Shape and type of an array, or of what is known of one."""
    return f"{tuple(x.shape)} {np.dtype(x.dtype).name}"


def checksum(arrays: dict[str, Array], whole: NamedSharding) -> int:
    """A number that one changed bit changes, the same on every mesh: sums of words, modulo 2**32, are exact.

    Storage notices a file that is missing or cut short, but not a flipped bit inside an array.

    Args:
        arrays: by name.
        whole: a sharding under which every device of the mesh holds an array whole.
    """
    by_name = [arrays[name] for name in sorted(arrays)]
    return zlib.crc32(np.asarray(_word_sums(whole)(by_name)).tobytes())


@functools.cache
def _word_sums(whole: NamedSharding) -> Callable[[list[Array]], UInt[Array, "_"]]:
    mesh = cast(Mesh, whole.mesh)  # never an abstract one
    return platform.jit(mesh, out_shardings=whole)(lambda all_: jnp.stack([_word_sum(x) for x in all_]))


def _word_sum(x: Array) -> UInt[Array, ""]:
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}[x.dtype.itemsize]
    bits = x.astype(words) if x.dtype == jnp.bool_ else jax.lax.bitcast_convert_type(x, words)
    return jnp.sum(bits, dtype=jnp.uint32)


def packed(tree: Any) -> Any:
    """JSON of a tree of numbers, text and numpy arrays, bit for bit: arrays as text."""
    if isinstance(tree, dict):
        return {name: packed(one) for name, one in tree.items()}
    if isinstance(tree, np.ndarray):
        array = np.ascontiguousarray(tree)
        return {
            "array": base64.b64encode(array.tobytes()).decode(),
            "dtype": array.dtype.name,
            "shape": list(tree.shape),
        }
    return tree


def unpacked(saved: Any) -> Any:
    """What `packed` was given."""
    if isinstance(saved, dict) and saved.keys() == {"array", "dtype", "shape"}:
        array = np.frombuffer(base64.b64decode(saved["array"]), saved["dtype"])
        return array.reshape(saved["shape"]).copy()
    return {name: unpacked(one) for name, one in saved.items()} if isinstance(saved, dict) else saved
