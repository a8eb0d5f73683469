"""Eight virtual CPU devices, JAX's strict modes, and one folder of compiled programs, for every test."""

import contextlib
import functools
import gc
import os
import shutil
import tempfile

# Tests compile hundreds of small programs and run each for microseconds: optimising them would take most of the time.
FLAGS = (
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",  # the processes of the tests are parallel already
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])
os.environ["JAX_PLATFORMS"] = "cpu"

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from jax._src import pjit  # noqa: E402
from jax._src.interpreters import mlir, pxla  # noqa: E402

hypothesis.settings.register_profile("unhurried", deadline=None)  # the first example compiles
hypothesis.settings.load_profile("unhurried")

gc.disable()  # until everything is imported, which makes much and throws little away
gc.set_threshold(50_000, 20, 100)  # and seldom afterwards: what JAX keeps, it keeps
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# What took long to compile is shared between processes; to write and read smaller programs takes longer than they do.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# JAX writes the text of every program into an MLIR context of its own, which takes a quarter of the time of a small
# program, and keeps it beside the compiled one: among thousands of contexts all that touches MLIR becomes slower.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)
TEXTS = (pxla._cached_lowering_to_hlo, pjit._pjit_lower)


def pytest_collection_finish():
    """What is imported stays: no need to go through it again and again."""
    gc.freeze()
    gc.enable()
    import programs  # of the library, which is imported with its annotations checked

    programs.share()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Tests that count what is compiled, or change what is traced, share no programs with others."""
    import programs

    alone = {"compiled", "monkeypatch"} & set(item.fixturenames)
    with programs.apart() if alone else contextlib.nullcontext():
        return (yield)


def pytest_runtest_teardown():
    """Forget the texts; the compiled programs stay."""
    for cache in TEXTS:
        cache.cache_clear()


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        compiled = config.workerinput["compiled"]
    else:
        compiled = config.compiled = tempfile.mkdtemp(prefix="compiled")
    jax.config.update("jax_compilation_cache_dir", compiled)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """What one process of a parallel run has compiled, the others need not."""
    node.workerinput["compiled"] = node.config.compiled


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):
        shutil.rmtree(config.compiled)
