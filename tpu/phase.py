"""The three compiled stages of a GRPO step, lowered for the chips of a pod that nobody has switched on."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import GRPO, types
from posttrain_jax.models import language_model
from posttrain_jax.rollout import generate, sample
from posttrain_jax.train import optimizer, reference, update


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of one step, over all chips."""

    groups: int
    """Prompts."""
    group_size: int
    """Completions of a prompt."""
    prompt_len: int
    """Tokens of a prompt, padding included."""
    completion_len: int
    """Tokens of a completion, padding included."""

    def __post_init__(self) -> None:
        """Refuse what holds no token."""
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}: give at least 1.")


def rows(model: language_model.LanguageModel, sizes: Sizes) -> types.Groups:
    """The shapes of a batch, cut over the mesh.

    Raises:
        ValueError: the mesh does not divide the prompts.
    """
    if sizes.groups % model.row_shards:
        raise ValueError(
            f"{sizes.groups} groups do not divide over {model.row_shards} row shards (data x fsdp): "
            "choose a multiple, or a larger tensor axis."
        )
    P, G, S, T = sizes.groups, sizes.group_size, sizes.prompt_len, sizes.completion_len

    def make() -> types.Groups:
        return types.Groups(
            prompts=jnp.zeros((P, S), jnp.int32),
            prompt_lengths=jnp.zeros((P,), jnp.int32),
            completions=jnp.zeros((P, G, T), jnp.int32),
            completion_lengths=jnp.zeros((P, G), jnp.int32),
            completion_mask=jnp.zeros((P, G, T), bool),
            group_ids=jnp.zeros((P,), jnp.int32),
        )

    return _cut(model, jax.eval_shape(make))


def lower_generate(model: language_model.LanguageModel, sizes: Sizes) -> jax.stages.Lowered:
    """The rollout, as long as it can get."""
    groups, whole = rows(model, sizes), NamedSharding(model.mesh, Spec())
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    sampling = sample.Sampling(sizes.completion_len, stop_ids=(model.config.vocab_size - 1,))
    compiled: Any = generate.make_generate(model, sampling, sizes.group_size)
    return compiled.lower(model.abstract_params(), groups.prompts, groups.prompt_lengths, groups.group_ids, key)


def lower_score(model: language_model.LanguageModel, sizes: Sizes) -> jax.stages.Lowered:
    """The reference's log-probabilities."""
    compiled: Any = reference.make_score(model)
    return compiled.lower(model.abstract_params(), rows(model, sizes))


def lower_update(model: language_model.LanguageModel, sizes: Sizes, micro_batches: int) -> jax.stages.Lowered:
    """GRPO with a penalty against the reference, and AdamW."""
    groups = rows(model, sizes)

    def make() -> types.PolicyBatch:
        mask = jnp.zeros(groups.completions.shape, bool)
        zeros = jnp.zeros(mask.shape, jnp.float32)
        return types.PolicyBatch(mask, zeros, zeros, ref_logps=zeros)

    adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-6)))
    compiled: Any = update.make_update(model, GRPO(kl_coef=0.04), adamw, micro_batches=micro_batches)
    return compiled.lower(update.abstract_state(model, adamw), groups, _cut(model, jax.eval_shape(make)))


def _cut(model: language_model.LanguageModel, tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=model.row_sharding), tree)
