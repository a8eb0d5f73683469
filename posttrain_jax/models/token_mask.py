"""A policy beside masks of tokens that are learned with it: a model whose `token_stats` hold `masks`.

    s_l = relu(LN(h_l) w_l + b_l),   m_t = relu(sum_l v_l s_l),   h_l the reference's residual stream after layer l

at the position that predicts token t, and without gradient. Every mask begins at 1 everywhere: w = 0, b = 1, v = 1 / L.

Differs from the authors' code: their w, b and v begin at random, and s and m pass through dropout.

Source: Christopoulou et al. 2024 (SparsePO, arXiv:2410.05102), section 3.2.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, Int, PyTree

from posttrain_jax import comparison, types
from posttrain_jax.models import config as configs
from posttrain_jax.models import head, language_model, layer
from posttrain_jax.models import lora as loras

MASKS = "masks"
"""Their entry beside the policy's parameters, trained whole beside adapters."""


def without(params: PyTree) -> PyTree:
    """The parameters of the policy alone."""
    return {name: x for name, x in params.items() if name != MASKS}


@dataclasses.dataclass(frozen=True)
class Masked:
    """A policy and one mask for rewards and divergences, or one for each.

    The masks read the reference, which is of the policy's architecture: they are there where statistics are compared
    with "ref", as in an update by `SparsePO`.

    Raises:
        ValueError: neither one nor two masks.
    """

    actor: language_model.LanguageModel
    count: int = 2
    """1: one mask for both; 2: one each, with parameters of their own."""

    def __post_init__(self):
        if self.count not in (1, 2):
            raise ValueError(f"count={self.count}: take 1 mask for reward and divergence, or 2, one for each.")

    @property
    def config(self) -> configs.ModelConfig:
        """The policy's architecture."""
        return self.actor.config

    @property
    def compute(self) -> configs.Compute:
        """Precision and memory."""
        return self.actor.compute

    @property
    def lora(self) -> loras.Lora | None:
        """Adapters of the policy."""
        return self.actor.lora

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        return self.actor.mesh

    @property
    def row_sharding(self) -> NamedSharding:
        """How every batch array lies."""
        return self.actor.row_sharding

    @property
    def row_shards(self) -> int:
        """Into how many parts the mesh cuts the rows of a batch."""
        return self.actor.row_shards

    @property
    def layout(self) -> head.Layout:
        """Of the policy's vocabulary."""
        return self.actor.layout

    def abstract_params(self) -> PyTree:
        """Shape, dtype and sharding of each parameter."""
        layers, width, whole = self.config.num_layers, self.config.hidden_size, NamedSharding(self.mesh, Spec())
        shapes = {"weight": (layers, width), "bias": (layers,), "mixer": (layers,)}
        shapes |= {"norm_scale": (width,), "norm_bias": (width,)}
        dtype = self.compute.param_dtype
        masks = {
            name: jax.ShapeDtypeStruct((self.count, *shape), dtype, sharding=whole) for name, shape in shapes.items()
        }
        return self.actor.abstract_params() | {MASKS: masks}

    def from_language_model(self, params: PyTree) -> PyTree:
        """The policy's parameters, in the same memory, and masks that are 1 of every token."""
        start = {"bias": 1.0, "mixer": 1 / self.config.num_layers, "norm_scale": 1.0}

        def one(name: str, like: jax.ShapeDtypeStruct) -> Array:
            return jnp.full(like.shape, start.get(name, 0.0), like.dtype, device=like.sharding)

        return params | {MASKS: {name: one(name, like) for name, like in self.abstract_params()[MASKS].items()}}

    def policy(self, params: PyTree) -> PyTree:
        """The parameters of the policy alone."""
        return without(params)

    def token_stats(
        self,
        params: PyTree,
        groups: types.Groups,
        *,
        temperature: float = 1.0,
        kept_ids: Int[Array, "P G T k"] | None = None,
        comparisons: Mapping[str, comparison.Request] | None = None,
        fixed: Mapping[str, comparison.Logits] | None = None,
    ) -> types.TokenStats:
        """The policy's, and the masks where the reference is among `fixed`."""
        more = {"temperature": temperature, "kept_ids": kept_ids, "comparisons": comparisons, "fixed": fixed}
        stats = self.actor.token_stats(self.policy(params), groups, **more)
        layers = fixed["ref"].layers if fixed and "ref" in fixed else None
        if layers is None or MASKS not in params:
            return stats
        masks = jnp.where(groups.completion_mask[..., None], _masks(params[MASKS], jax.lax.stop_gradient(layers)), 0)
        return dataclasses.replace(stats, masks={"reward": masks[..., 0], "kl": masks[..., -1]})

    def logits(self, params: PyTree, groups: types.Groups) -> comparison.Logits:
        """The policy's, and the residual stream of every layer, which the masks of another read."""
        own = self.policy(params)
        hidden, layers = self.actor.states(own, groups, layer.stream)
        return comparison.Logits(hidden, self.actor.head_weight(own), jnp.moveaxis(layers, 0, 3))

    def states(self, params: PyTree, groups: types.Groups, take: layer.Emit) -> tuple[Array, PyTree]:
        """The policy's."""
        return self.actor.states(self.policy(params), groups, take)


def beside(
    model: language_model.LanguageModel, params: PyTree, count: int
) -> tuple[language_model.LanguageModel | Masked, PyTree]:
    """The policy with so many masks beside it, or as it is with none."""
    if count == 0:
        return model, params
    masked = Masked(model, count)
    return masked, masked.from_language_model(params)


def _masks(params: Mapping[str, Array], layers: Float[Array, "P G T L W"]) -> Float[Array, "P G T H"]:
    """The equation above, of every mask."""
    wide = layers.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    normal = centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    own = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    # LN(h) w = n . (scale w) + bias . w
    scaled = own["weight"] * own["norm_scale"][:, None]
    offsets = own["bias"] + jnp.sum(own["weight"] * own["norm_bias"][:, None], axis=-1)
    said = jnp.einsum("pgtld,hld->pgthl", normal, scaled) + offsets[None, None, None]
    return jax.nn.relu(jnp.sum(jax.nn.relu(said) * own["mixer"][None, None, None], axis=-1))
