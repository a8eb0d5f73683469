import jax
import pytest
import quick_compiles


@pytest.fixture(scope="package", autouse=True)
def quick():
    with quick_compiles.little_optimized():
        yield


@pytest.fixture
def compiled():
    """A list that grows with every program that XLA compiles."""
    events = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            events.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
