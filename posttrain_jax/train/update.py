"""The update: gradients of a recipe's loss over micro-batches, one optimizer step, global averages of the metrics."""

import functools
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Bool, Float, Key, PyTree

from posttrain_jax import comparison, masked, types
from posttrain_jax.models import head, lora, platform


@runtime_checkable
class Model(comparison.Asked, Protocol):
    """What training needs of a model; `posttrain_jax.models.language_model.LanguageModel` is one."""

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        ...

    @property
    def row_sharding(self) -> NamedSharding:
        """How batch arrays lie, rows first."""
        ...

    @property
    def row_shards(self) -> int:
        """Into how many parts the mesh cuts the rows of a batch."""
        ...

    def abstract_params(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Shape, dtype and sharding of each parameter."""
        ...

    @property
    def layout(self) -> head.Layout:
        """How passes over the vocabulary are cut."""
        ...


def abstract_state(model: Model, optimizer: optax.GradientTransformation, memory: PyTree = ()) -> types.TrainState:
    """Shape, dtype and sharding of everything in a `TrainState`: moments lie as their parameter does."""
    (params, _), whole = lora.split(model.abstract_params()), NamedSharding(model.mesh, Spec())
    by_path = dict(jax.tree.leaves_with_path(params))

    def make(params: PyTree, memory: PyTree) -> types.TrainState:
        return types.TrainState(params, _moments(optimizer, params), jnp.int32(0), jax.random.key(0), memory)

    def place(path: tuple, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        owners = [by_path[path[i:]] for i in range(len(path)) if path[i:] in by_path]
        sharding = owners[0].sharding if owners and owners[0].shape == x.shape else whole
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map_with_path(place, jax.eval_shape(make, params, memory))


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    *,
    params: PyTree,
    memory: PyTree = (),
) -> types.TrainState:
    """The state before the first update, created where it will lie.

    Args:
        key: the run's key.
        params: taken over by the state: the first update gives their memory away, so keep a copy of what is needed
            later (`reference.copy`). Of parameters with adapters the state takes these alone.
        memory: what the recipe carries from step to step.
    """
    params, _ = lora.split(params)
    where = jax.tree.map(lambda x: x.sharding, abstract_state(model, optimizer, memory))

    @platform.jit(model.mesh, out_shardings=(where.opt_state, where.step, where.key, where.memory), level=0)
    def rest(params, words, memory):
        return _moments(optimizer, params), jnp.int32(0), jax.random.wrap_key_data(words), memory

    # as numpy, which every process may hand to a program of all devices
    words, memory = jax.tree.map(np.asarray, (jax.random.key_data(key), memory))
    return types.TrainState(params, *rest(params, words, memory))


def make_gradients(
    model: Model,
    recipe: types.Loss,
    *,
    micro_batches: int = 1,
    temperature: float = 1.0,
    fixed: Mapping[str, comparison.Asked] | None = None,
) -> Callable[..., tuple[PyTree, dict[str, Float[Array, ""]]]]:
    """`gradients(params, groups, batch, kept_ids=None, frozen=None, fixed_params=None) -> (gradients, metrics)`, plain.

    Losses add: the gradients of the micro-batches are summed, in float32. `frozen` are the parameters beside `params`
    without gradient, the base under adapters. `fixed` models run again here: no whole batch of hidden states is stored,
    but where they come from another mesh.
    """
    others = fixed or {}

    def loss_of(frozen: PyTree, fixed_params: PyTree, params: PyTree, part: tuple) -> tuple[Float[Array, ""], dict]:
        groups, batch, kept_ids, hidden = part
        whole = comparison.with_hidden(fixed_params, hidden)
        comparisons = recipe.comparisons(batch) if isinstance(recipe, comparison.Comparing) else {}
        asked = [role for role in comparison.roles(comparisons) if role in others]
        policy = model.token_stats(
            lora.join(params, frozen),
            groups,
            temperature=temperature,
            kept_ids=kept_ids,
            comparisons=comparisons,
            fixed={role: others[role].logits(whole[role], groups) for role in asked},
        )
        loss, metrics = recipe.loss(policy, batch)
        return loss, {name: _sum_and_count(x, batch.completion_mask) for name, x in metrics.items()}

    def widen(tree: PyTree) -> PyTree:
        """In float32, gradients lying as their parameters do."""
        values, grads = jax.tree.map(lambda x: x.astype(jnp.float32), tree)
        shardings = jax.tree.map(lambda x: x.sharding, lora.split(model.abstract_params())[0])
        return values, lax.with_sharding_constraint(grads, shardings)

    def add_up(differentiate: Callable[..., PyTree], params: PyTree, parts: PyTree) -> PyTree:
        first = jax.tree.map(lambda x: x[0], parts)
        if micro_batches == 1:  # a scan of one part would compile an addition to zeros, and hold both
            return widen(differentiate(params, first))
        shapes = jax.eval_shape(differentiate, params, first)
        zeros = widen(jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes))

        def one(total, part):
            # Without the barrier XLA's TPU compiler tries to move sums over devices behind the loop, and fails at it.
            return jax.tree.map(jnp.add, total, widen(lax.optimization_barrier(differentiate(params, part)))), None

        return lax.scan(one, zeros, parts)[0]

    def gradients(params, groups, batch, kept_ids=None, frozen=None, fixed_params=None):
        differentiate = jax.value_and_grad(functools.partial(loss_of, frozen, fixed_params), has_aux=True)
        rows = groups, batch, kept_ids, comparison.hidden(fixed_params)
        (loss, sums), grads = add_up(differentiate, params, split(model, rows, micro_batches))
        averages = {name: total / jnp.maximum(count, 1) for name, (total, count) in sums.items()}
        tokens = jnp.sum(batch.completion_mask).astype(jnp.float32)
        return grads, averages | {"loss": loss, "tokens": tokens, "grad_norm": optax.tree.norm(grads)}

    return gradients


def make_update(
    model: Model,
    recipe: types.Loss,
    optimizer: optax.GradientTransformation,
    *,
    micro_batches: int = 1,
    temperature: float = 1.0,
    memory: PyTree = (),
    fixed: Mapping[str, comparison.Asked] | None = None,
) -> Callable[..., tuple[types.TrainState, dict[str, Float[Array, ""]]]]:
    """`update(state, groups, batch, kept_ids=None, frozen=None, fixed_params=None) -> (state, metrics)`, jitted.

    It gives the old state's memory away. `frozen` is the base, where the state holds adapters, `fixed_params` are the
    parameters of `fixed` by role; they are left as they are.

    Metrics are scalars: the recipe's, averaged over all counted tokens or rows of the batch, and `loss`, `tokens`
    (counted), `grad_norm` (before clipping) and `finite`. Where loss or gradient is not finite, `finite` is 0 and the
    state comes back unchanged.

    Args:
        micro_batches: parts the rows are computed in, one after the other, to save memory; changes nothing else.
        temperature: what sampling divided the logits by.
        memory: like the state's.
        fixed: the models that the recipe compares with (`comparison.Comparing`), by role.

    Raises:
        ValueError: rows do not split into the micro-batches on every device (when called).
    """
    gradients = make_gradients(model, recipe, micro_batches=micro_batches, temperature=temperature, fixed=fixed)
    shardings = jax.tree.map(lambda x: x.sharding, abstract_state(model, optimizer, memory))
    whole = NamedSharding(model.mesh, Spec())

    @platform.jit(model.mesh, donate_argnums=(0,), out_shardings=(shardings, whole))
    def update(state, groups, batch, kept_ids=None, frozen=None, fixed_params=None):
        grads, metrics = gradients(state.params, groups, batch, kept_ids, frozen, fixed_params)
        # optax mixes dtypes, float32 moments with bfloat16 parameters among them
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
        params, opt_state, step = jax.tree.map(
            functools.partial(jnp.where, finite),
            (params, opt_state, state.step + 1),
            (state.params, state.opt_state, state.step),
        )
        state = types.TrainState(params, opt_state, step, state.key, state.memory)
        return state, metrics | {"finite": finite.astype(jnp.float32)}

    return update


def split(model: Model, tree: PyTree, parts: int) -> PyTree:
    """Cut the rows of every array into `parts` micro-batches, a new leading axis.

    Row i goes to part i % parts: each device cuts the rows it holds, and no row moves.
    """
    sharding = NamedSharding(model.mesh, Spec(None, *model.row_sharding.spec))

    def one(x: Array) -> Array:
        rows = x.shape[0]
        if rows % (parts * model.row_shards):
            raise ValueError(
                f"{rows} rows do not split into {parts} micro-batches on {model.row_shards} row shards (data x fsdp):"
                f" use a multiple of {parts * model.row_shards} rows, or fewer micro-batches."
            )
        cut = jnp.swapaxes(x.reshape(rows // parts, parts, *x.shape[1:]), 0, 1)
        return lax.with_sharding_constraint(cut, sharding)

    return jax.tree.map(one, tree)


def _moments(optimizer: optax.GradientTransformation, params: PyTree) -> PyTree:
    """The optimizer's first state, its moments in float32 whatever the parameters are."""
    with jax.numpy_dtype_promotion("standard"):
        return optimizer.init(jax.tree.map(lambda x: x.astype(jnp.float32), params))


def _sum_and_count(x: Array, mask: Bool[Array, "P G T"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum of a metric over what counts, and how much counts: tokens, completions or rows, by its rank."""
    counted = mask if x.ndim == 3 else jnp.any(mask, axis=tuple(range(x.ndim, 3)))
    x = lax.stop_gradient(x).astype(jnp.float32)
    return masked.total(x, counted), jnp.sum(counted).astype(jnp.float32)
