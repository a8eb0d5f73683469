"""A stand-in for a language model that all loops train and that traces in no time: a token alone predicts the next."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from posttrain_jax import types
from posttrain_jax.models import config, kv_cache, language_model, layer


def decoder_model(mesh, vocab_size):
    """The smallest decoder."""
    return language_model.LanguageModel(small(vocab_size), config.Compute(stored=None), mesh)


def small(vocab_size):
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "mlp_size": 32}
    return config.ModelConfig(vocab_size, **sizes, norm_eps=1e-6, rope_theta=1e4, max_position=64, qk_norm=True)


def model(mesh, vocab_size):
    return Bigram(small(vocab_size), config.Compute(), mesh)


@dataclasses.dataclass(frozen=True)
class Bigram(language_model.LanguageModel):
    """A `LanguageModel` in all that the loops use."""

    def abstract_params(self):
        shapes = {"embedding": (self.config.vocab_size, 8), "head": (8, self.config.vocab_size)}
        if self.config.tie_embeddings:  # as under a head of scores, which says nothing of words
            del shapes["head"]
        lie = {name: NamedSharding(self.mesh, self.rules.spec(name, stacked=False)) for name in shapes}
        return {name: jax.ShapeDtypeStruct(shapes[name], jnp.float32, sharding=lie[name]) for name in shapes}

    def init(self, key):
        random = np.random.default_rng(int(jax.random.key_data(key)[-1]))
        make = lambda x: jax.device_put(random.normal(size=x.shape).astype(x.dtype), x.sharding)  # noqa: E731
        return jax.tree.map(make, self.abstract_params())

    def for_sampling(self, params):
        return self, params

    def head_weight(self, params):
        return params["head"]

    def encode(self, params, prompts, prompt_lengths):
        last = jnp.take_along_axis(prompts, (prompt_lengths - 1)[:, None], axis=1)[:, 0]
        nothing = jnp.zeros((1, len(prompts), 1, 0, 1))
        return kv_cache.PromptCache(keys=nothing, values=nothing, lengths=prompt_lengths), jnp.tanh(
            params["embedding"][last]
        )

    def own_cache(self, rows, group, length):
        room = jnp.zeros((1, rows, 1, group, length, 1))
        return kv_cache.OwnCache(keys=room, values=room)

    def extend(self, params, cache, tokens, own=None, start=None):
        return jnp.tanh(params["embedding"][tokens]), own

    def states(self, params, groups, take):
        hidden = self.hidden(params, groups)
        wide = jnp.concatenate([hidden, jnp.cos(3 * hidden)], axis=-1)

        def made(stream):
            heads = stream[:, None, :, None]
            return take(layer.Layer(heads, heads[:, :, :, 0], heads[:, :, :, 0], heads, stream, stream, stream))

        return hidden, jax.tree.map(lambda *x: jnp.stack(x), made(wide), made(wide[..., ::-1] ** 2))

    def read(self, params, groups):
        _, last = self.encode(params, groups.prompts, groups.prompt_lengths)
        return self.extend(params, None, groups.completions)[0], last

    def token_stats(self, params, groups, *, temperature=1.0, kept_ids=None, comparisons=None, fixed=None):
        if comparisons:
            return super().token_stats(params, groups, temperature=temperature, comparisons=comparisons, fixed=fixed)
        hidden, last = self.read(params, groups)
        first = jnp.broadcast_to(last[:, None, None], (*hidden.shape[:2], 1, hidden.shape[-1]))
        hidden = jnp.concatenate([first, hidden[:, :, :-1]], axis=2)
        logits = (hidden @ params["head"]) / temperature
        if kept_ids is not None:
            kept = (kept_ids[..., None] == jnp.arange(logits.shape[-1])[None, None, None, None]).any(-2)
            logits = jnp.where(kept, logits, -1e30)
        log_probs = jax.nn.log_softmax(logits)
        chosen = jax.nn.one_hot(groups.completions, self.config.vocab_size)
        mask = groups.completion_mask
        return types.TokenStats(
            logps=jnp.where(mask, jnp.sum(chosen * log_probs, -1), 0),
            entropy=jnp.where(mask, -jnp.sum(jnp.exp(log_probs) * log_probs, -1), 0),
        )
