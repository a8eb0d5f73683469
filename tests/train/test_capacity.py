import jax
import jax.numpy as jnp
import pytest

from posttrain_jax.train import capacity

GIB = 2**30


def test_what_a_program_needs_is_known_and_it_is_compiled_once(compiled):
    product = jax.jit(lambda weights, x: jnp.tanh(weights @ x) @ x.T)
    weights, x = jnp.ones((64, 256)), jnp.ones((256, 64))
    before = len(compiled)
    needed = capacity.need("the product", product, weights, x)
    assert needed.arguments == 2 * 64 * 256 * 4
    assert needed.beside >= 64 * 256 * 4  # the result
    for _ in range(2):
        capacity.checked("the product", product)(weights, x)
    assert len(compiled) == before + 1


def test_memory_that_is_given_away_is_not_counted_twice():
    kept, given = jax.jit(lambda x: x + 1), jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jax.ShapeDtypeStruct((1024,), jnp.float32)
    assert capacity.need("kept", kept, x).beside == 4096
    assert capacity.need("given", given, x).beside == 0


def test_what_does_not_fit_is_refused_with_both_numbers_before_it_runs(monkeypatch):
    ran = []
    stage = jax.jit(lambda state, x: (jax.debug.callback(lambda: ran.append(1)), state @ x)[1])
    monkeypatch.setattr(capacity, "room", lambda: capacity.Room(free=4096, whole=16 * GIB))
    small, large = jnp.ones((16, 16)), jnp.ones((16, 256))
    call = capacity.checked("the update", stage)
    jax.block_until_ready(call(small, small))
    assert ran == [1]
    with pytest.raises(
        ValueError, match=r"the update does not fit .* needs 1.53e-05 GiB .* 3.81e-06 of 16 GiB are free"
    ):
        call(small, large)
    assert ran == [1]


def test_the_sentence_names_the_remedies():
    capacity.refuse("the update", capacity.Need(8 * GIB, 3 * GIB), capacity.Room(3 * GIB, 16 * GIB))
    capacity.refuse("the update", None, capacity.Room(0, 0))
    capacity.refuse("the update", capacity.Need(0, 1), None)
    told = (
        r"beside 8 GiB of arguments it needs 3.5 GiB on each device, where 3 of 16 GiB are free: use more micro-batches"
    )
    with pytest.raises(ValueError, match=told):
        capacity.refuse("the update", capacity.Need(8 * GIB, 7 * GIB // 2), capacity.Room(3 * GIB, 16 * GIB))


def test_a_compiler_that_runs_out_of_memory_is_heard():
    class Stage:
        def __init__(self, text):
            self.text = text

        def lower(self, *args):
            raise jax.errors.JaxRuntimeError(self.text)

    with pytest.raises(
        ValueError, match=r"sampling does not fit into memory \(RESOURCE_EXHAUSTED: Used 20G of 15G hbm"
    ):
        capacity.need("sampling", Stage("RESOURCE_EXHAUSTED: Used 20G of 15G hbm."))
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        capacity.need("sampling", Stage("INTERNAL: a bug"))


def test_the_machine_tells_what_is_free(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:  2048 kB\nMemFree:  1 kB\nMemAvailable:  1024 kB\n")
    assert capacity.machine(2, tmp_path / "meminfo") == capacity.Room(free=1024 * 512, whole=1024 * 1024)
    assert capacity.machine(2, tmp_path / "none") is None
    assert capacity.room() is None or capacity.room().free > 0


class Device:
    """Of an accelerator, which says what it has, or (as on some pods) nothing."""

    platform = "tpu"

    def __init__(self, stats):
        self.stats = stats

    def memory_stats(self):
        return self.stats


def test_the_fullest_device_decides_and_one_that_says_nothing_refuses_nothing(monkeypatch):
    full, empty = Device({"bytes_limit": 16, "bytes_in_use": 12}), Device({"bytes_limit": 16})
    monkeypatch.setattr(jax, "local_devices", lambda: [empty, full])
    assert capacity.room() == capacity.Room(free=4, whole=16)
    for silent in (Device(None), Device({})):
        monkeypatch.setattr(jax, "local_devices", lambda silent=silent: [full, silent])
        assert capacity.room() is None
