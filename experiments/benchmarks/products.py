"""How fast XLA multiplies matrices of the sizes that a step is made of: the floor under every time in docs/speed.md.

    python experiments/benchmarks/products.py

Prints one JSON line a product [rows, inner] x [inner, columns], with `gflops`, billions of floating-point operations
(two for each multiplication) per second.
"""

import dataclasses
import statistics
from typing import Literal

import jax
import jax.numpy as jnp
import measure
import tyro


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes."""

    products: tuple[tuple[int, int, int], ...] = ((4096, 256, 680), (4096, 680, 256), (256, 256, 8192))
    """Rows, inner dimension and columns of each: the MLP's two, and the head's on a chunk of tokens."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    steps: int = 30
    """The median leaves out the first, which compiles, and the second."""


def main(c: Config) -> None:
    """Time each product."""
    measure.enough(c.steps)
    multiply = jax.jit(jnp.dot)
    for rows, inner, columns in c.products:
        left, right = jnp.ones((rows, inner), c.dtype), jnp.ones((inner, columns), c.dtype)
        watch = measure.Watch()
        for _ in range(c.steps):
            watch.time("product", multiply, left, right)
        seconds = statistics.median(watch.phases["product"][2:])
        gflops = round(2 * rows * inner * columns / seconds / 1e9, 1)
        watch.report("products", c, tokens=rows, product=[rows, inner, columns], gflops=gflops)


if __name__ == "__main__":
    main(tyro.cli(Config))
