"""For programs that run for milliseconds and compile for seconds: optimize little, and compile nothing twice."""

import contextlib

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextlib.contextmanager
def into(folder):
    """Keep what is compiled in `folder` meanwhile."""
    during = {
        "jax_disable_most_optimizations": (True, False),
        "jax_compilation_cache_dir": (str(folder), None),
        "jax_persistent_cache_min_compile_time_secs": (0.0, 1.0),
        "jax_persistent_cache_min_entry_size_bytes": (-1, 0),
    }
    for name, (value, _) in during.items():
        jax.config.update(name, value)
    yield
    for name, (_, value) in during.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
