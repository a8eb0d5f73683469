"""A tiny model and batches of random rows for the tests of training."""

import dataclasses

import bigram
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_compiles
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import types
from posttrain_jax.models import config, language_model, sharding
from posttrain_jax.train import capacity


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


@dataclasses.dataclass(frozen=True)
class Toy:
    """A stand-in that compiles in no time: next-token logits from the prompt's first token, two blocks, a norm.

    It leaves sharding to XLA, whose partitioner gives it wrong gradients on a mesh of all three axes (jax 0.10.2):
    there only the decoder, which says how everything lies, is tested.
    """

    mesh: jax.sharding.Mesh
    param_dtype: object
    vocab_size: int = 32

    @property
    def row_sharding(self):
        return NamedSharding(self.mesh, Spec(sharding.ROWS))

    @property
    def row_shards(self):
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    def abstract_params(self):
        shapes = {
            "embedding": (self.vocab_size, 8),
            "blocks": {"query": (2, 8, 8), "attention_norm": (2, 8)},
            "head": (8, self.vocab_size),
        }

        def one(path, shape):
            spec = sharding.TRAINING_RULES.spec(path[-1].key, stacked=len(path) > 1)
            return jax.ShapeDtypeStruct(shape, self.param_dtype, sharding=NamedSharding(self.mesh, spec))

        return jax.tree.map_with_path(one, shapes, is_leaf=lambda x: isinstance(x, tuple))

    def init(self, key):
        random = np.random.default_rng(int(jax.random.key_data(key)[-1]))
        return jax.tree.map(
            lambda x: jax.device_put(random.normal(size=x.shape).astype(x.dtype), x.sharding), self.abstract_params()
        )

    def logits(self, params, groups):
        raise AssertionError("nothing is compared with the toy.")

    @property
    def layout(self):
        return None  # nothing asks for it

    def token_stats(self, params, groups, *, temperature=1.0, kept_ids=None, comparisons=None, fixed=None):
        assert not comparisons
        hidden = params["embedding"][groups.prompts[:, 0]]
        for query, norm in zip(params["blocks"]["query"], params["blocks"]["attention_norm"], strict=True):
            hidden = hidden + jnp.tanh(hidden @ query) * norm[None]
        logits = (hidden @ params["head"]).astype(jnp.float32) / temperature
        log_probs = jax.nn.log_softmax(logits)[:, None, None]
        chosen = jax.nn.one_hot(groups.completions, self.vocab_size)
        mask = groups.completion_mask
        entropy = jnp.broadcast_to(-jnp.sum(jnp.exp(log_probs) * log_probs, -1), mask.shape)
        return types.TokenStats(
            logps=jnp.where(mask, jnp.sum(chosen * log_probs, -1), 0), entropy=jnp.where(mask, entropy, 0)
        )


class Tiny:
    """Makers of small objects."""

    def toy(self, *, data=1, fsdp=1, tensor=1, param_dtype=jnp.float32):
        return Toy(sharding.make_mesh(data=data, fsdp=fsdp, tensor=tensor), param_dtype)

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
            shape, config.Compute(param_dtype=param_dtype, head_chunk=16, stored=None), mesh
        )

    def bigram(self, *, data=1, vocab_size=32):
        """Where the architecture plays no part."""
        return bigram.model(sharding.make_mesh(data=data, fsdp=1, tensor=1), vocab_size)

    def rows(self, model, tree):
        return jax.tree.map(lambda x: jax.device_put(np.asarray(x), model.row_sharding), tree)

    def groups(self, model, *, P=8, G=2, S=5, T=6, seed=0):
        random = np.random.default_rng(seed)
        vocab = 32
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
def quick():
    with quick_compiles.little_optimized():
        yield


@pytest.fixture
def stages(monkeypatch):
    """The names of a loop's large stages, in the order in which they ran."""
    ran, checked = [], capacity.checked

    def counted(name, stage):
        call = checked(name, stage)
        return lambda *args: ran.append(name) or call(*args)

    monkeypatch.setattr(capacity, "checked", counted)
    return ran
