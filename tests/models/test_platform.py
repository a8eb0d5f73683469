"""What each platform runs best."""

import bigram
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.models import attention, platform, sharding, splash
from posttrain_jax.rollout import generate, sample


@pytest.fixture
def on(monkeypatch):
    """A mesh that says it is of another kind of device."""

    def mesh(kind):
        monkeypatch.setattr(platform, "_kind", lambda _: kind)
        return sharding.make_mesh()

    return mesh


def compiled(mesh):
    return platform.jit(mesh, out_shardings=jax.NamedSharding(mesh, jax.P()))(lambda x: jnp.sum(jnp.sin(x)))


def test_attention(on):
    assert platform.attention_of(on("tpu")) is splash.attend
    assert platform.attention_of(on("gpu")) is platform.attention_of(on("cpu")) is attention.einsum


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_other_platforms_compile_as_they_do(kind, on, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")
    assert not isinstance(compiled(on(kind)), platform.Quick)


def test_a_level_that_the_user_gave_goes_first(monkeypatch):
    mesh = sharding.make_mesh()
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/somewhere --xla_backend_optimization_level=2")
    assert not isinstance(compiled(mesh), platform.Quick)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/somewhere")
    assert isinstance(compiled(mesh), platform.Quick)


@pytest.mark.parametrize("level", [0, 1])
def test_the_compiler_is_told_the_level(level, monkeypatch):
    mesh, jit, told = sharding.make_mesh(), jax.jit, []
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(jax, "jit", lambda f, **options: told.append(options.get("compiler_options")) or jit(f))
    platform.jit(mesh, out_shardings=jax.NamedSharding(mesh, jax.P()), level=level)(jnp.sin)
    assert {platform.LEVEL: level} in told


def test_quick_programs_may_be_parts_of_others(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")
    x, run = jnp.arange(3.0), compiled(sharding.make_mesh())
    total = float(np.sum(np.sin(np.arange(3.0))))
    inside = jax.jit(run)(x), jax.jit(lambda: run(x))(), jax.vmap(run)(x[None])[0], jax.lax.map(run, x[None])[0]
    for found in (run(x), *inside, run.lower(x).compile()(x)):
        np.testing.assert_allclose(found, total, rtol=1e-6)
    assert jax.eval_shape(run, x).shape == ()
    for gradient in (jax.grad(run)(x), jax.jit(jax.grad(run))(x)):
        np.testing.assert_allclose(gradient, np.cos(np.arange(3.0)), rtol=1e-6)


def test_quick_programs_draw_the_same_tokens(monkeypatch):
    """With the options, which the flags of the tests keep away otherwise, and without."""
    model = bigram.model(sharding.make_mesh(data=2), 16)
    params, ids = model.init(jax.random.key(0)), jnp.arange(4, dtype=jnp.int32)

    def drawn():
        draw = generate.make_generate(model, sample.Sampling(6, stop_ids=(3,)), 2)
        prompts = jnp.ones((4, 3), jnp.int32)
        return draw(params, prompts, jnp.full(4, 3, jnp.int32), ids, jax.random.key(1)).groups.completions

    usual = drawn()
    monkeypatch.delenv("XLA_FLAGS")
    assert isinstance(generate.make_generate(model, sample.Sampling(6, stop_ids=(3,)), 2), platform.Quick)
    np.testing.assert_array_equal(drawn(), usual)
