"""For programs that run for milliseconds and compile for seconds."""

import contextlib

import jax


@contextlib.contextmanager
def little_optimized():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
