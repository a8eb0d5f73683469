"""A tiny model and batches of random rows for the tests of training."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import types
from posttrain_jax.models import config, language_model, sharding


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A loss with a term of each kind: log-probabilities, entropies, and metrics of every rank."""

    needs_ref = False

    def loss(self, policy, batch):
        loss = jnp.sum(batch.token_weights * batch.advantages * (0.1 * policy.entropy - policy.logps))
        return loss, {
            "entropy": policy.entropy,
            "length": jnp.sum(batch.completion_mask, axis=2),
            "advantage": batch.advantages[:, 0, 0],
        }


class Tiny:
    """Makers of small objects."""

    def model(self, *, data=1, fsdp=1, tensor=1, param_dtype=jnp.float32, vocab_size=32):
        shape = config.ModelConfig(
            vocab_size=vocab_size,
            hidden_size=16,
            num_layers=2,
            num_heads=4,
            num_kv_heads=2,
            head_dim=8,
            mlp_size=32,
            norm_eps=1e-6,
            rope_theta=1e4,
            max_position=64,
            qk_norm=True,
        )
        mesh = sharding.make_mesh(data=data, fsdp=fsdp, tensor=tensor)
        return language_model.LanguageModel(
            shape, config.Compute(param_dtype=param_dtype, head_chunk=16, remat=False), mesh
        )

    def rows(self, model, tree):
        return jax.tree.map(lambda x: jax.device_put(np.asarray(x), model.row_sharding), tree)

    def groups(self, model, *, P=8, G=2, S=5, T=6, seed=0):
        random = np.random.default_rng(seed)
        vocab = model.config.vocab_size
        lengths = random.integers(0, T + 1, (P, G)).astype(np.int32)
        lengths[0] = 0  # a row without a counted token
        groups = types.Groups(
            prompts=jnp.asarray(random.integers(0, vocab, (P, S)).astype(np.int32)),
            prompt_lengths=jnp.asarray(random.integers(1, S + 1, P).astype(np.int32)),
            completions=jnp.asarray(random.integers(0, vocab, (P, G, T)).astype(np.int32)),
            completion_lengths=jnp.asarray(lengths),
            completion_mask=jnp.asarray(np.arange(T) < lengths[..., None]),
            group_ids=jnp.arange(P, dtype=jnp.int32),
        )
        return self.rows(model, groups)

    def batch(self, model, groups, *, seed=0):
        mask = np.asarray(groups.completion_mask)
        random = np.random.default_rng(seed)
        return types.PolicyBatch(
            **self.rows(
                model,
                {
                    "completion_mask": mask,
                    "advantages": random.normal(size=mask.shape).astype(np.float32),
                    "token_weights": (mask / mask.sum()).astype(np.float32),
                },
            )
        )


@pytest.fixture(scope="session")
def tiny():
    return Tiny()


@pytest.fixture(scope="session")
def recipe():
    return Weighted()


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


@pytest.fixture(scope="package", autouse=True)
def quick_compiles():
    """These programs run for milliseconds and compile for seconds: leave most optimizations out."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
