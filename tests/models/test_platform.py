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


def options(mesh):
    return platform.jit(mesh).keywords["compiler_options"]


def test_attention(on):
    assert platform.attention_of(on("tpu")) is splash.attend
    assert platform.attention_of(on("gpu")) is platform.attention_of(on("cpu")) is attention.einsum


@pytest.mark.parametrize("kind", ["tpu", "gpu"])
def test_other_platforms_compile_as_they_do(kind, on, monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")
    assert options(on(kind)) is None


def test_a_level_that_the_user_gave_goes_first(monkeypatch):
    mesh = sharding.make_mesh()
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/somewhere --xla_backend_optimization_level=2")
    assert options(mesh) is None
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/somewhere")
    assert options(mesh) == {platform.LEVEL: 1}


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
    assert options(model.mesh)
    np.testing.assert_array_equal(drawn(), usual)
