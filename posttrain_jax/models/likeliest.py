"""A teacher's likeliest entries of every token: what is kept of a distribution that is to be stored or sent."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, Int

from posttrain_jax import comparison
from posttrain_jax.models import counterpart, head, sharding


def of_tokens(
    logits: comparison.Logits, count: int, layout: head.Layout, *, temperature: float = 1.0
) -> tuple[Int[Array, "P G T k"], Float[Array, "P G T k"]]:
    """Ids and log-probabilities of the `count` likeliest entries, the likeliest first; no gradient flows.

    Log-probabilities are of the whole distribution softmax(logits / temperature), in nats. Tokens go through in chunks
    and each device looks through its own slice of the vocabulary: no array `[tokens, V]` exists.

    Args:
        logits: of the model.
        count: k.
        layout: how the work is cut.
        temperature: divides the logits.

    Raises:
        ValueError: count is not within 1 and V.
    """
    if not 1 <= count <= logits.weight.shape[1]:
        raise ValueError(f"count={count} entries are not to be had of {logits.weight.shape[1]}: choose fewer, or 1.")
    logits, devices = lax.stop_gradient(logits), layout.mesh.shape["tensor"]

    def island(hidden: Float[Array, "p G T D"], weight: Float[Array, "d v"]):
        weight = sharding.gather_width(weight.astype(hidden.dtype), layout.rules, axis=0)
        rows = sharding.varying(hidden.reshape(-1, hidden.shape[-1]), "tensor")

        def one(part: Float[Array, "c D"]):
            scores = jnp.dot(part, weight, preferred_element_type=jnp.float32) / temperature
            own, places = lax.top_k(scores, min(count, scores.shape[1]))
            values = _of_all(own, devices)
            ids = _of_all(places + lax.axis_index("tensor") * scores.shape[1], devices)
            values, first = lax.top_k(values, count)
            ids = jnp.take_along_axis(ids, first, axis=1)
            return ids, values - counterpart.log_norm(scores)[:, None]

        found = lax.map(one, head.cut(rows, min(layout.chunk, rows.shape[0])))
        shape = (*hidden.shape[:-1], count)
        return jax.tree.map(lambda x: x.reshape(-1, count)[: rows.shape[0]].reshape(shape), found)

    rows, columns = Spec(sharding.ROWS), layout.rules.spec("head", stacked=False)
    return jax.shard_map(island, mesh=layout.mesh, in_specs=(rows, columns), out_specs=rows)(
        logits.hidden, logits.weight
    )


def at(
    logits: comparison.Logits, ids: Int[Array, "P G T k"], layout: head.Layout, *, temperature: float = 1.0
) -> Float[Array, "P G T k"]:
    """Log-probabilities of given entries of every token, likewise."""
    logits = lax.stop_gradient(logits)

    def island(hidden: Float[Array, "p G T D"], weight: Float[Array, "d v"], ids: Int[Array, "p G T k"]):
        weight = sharding.gather_width(weight.astype(hidden.dtype), layout.rules, axis=0)
        rows = sharding.varying(hidden.reshape(-1, hidden.shape[-1]), "tensor")

        def one(part: tuple[Float[Array, "c D"], Int[Array, "c k"]]):
            scores = jnp.dot(part[0], weight, preferred_element_type=jnp.float32) / temperature
            return counterpart.picked(scores, counterpart.log_norm(scores), part[1])

        flat = rows, ids.reshape(-1, ids.shape[-1])
        found = lax.map(one, head.cut(flat, min(layout.chunk, rows.shape[0])))
        return found.reshape(-1, ids.shape[-1])[: rows.shape[0]].reshape(ids.shape)

    rows, columns = Spec(sharding.ROWS), layout.rules.spec("head", stacked=False)
    return jax.shard_map(island, mesh=layout.mesh, in_specs=(rows, columns, rows), out_specs=rows)(
        logits.hidden, logits.weight, ids
    )


def looked_up(
    models: Mapping[str, comparison.Logits], wanted: comparison.Likeliest, size: int, layout: head.Layout
) -> tuple[Int[Array, "P G T k"], Float[Array, "P G T k"]]:
    """The likeliest entries of one model and their log-probabilities under another, which may be the same one.

    Args:
        models: both, by role.
        wanted: which is which.
        size: of the policy's vocabulary; entries behind it are left out.
        layout: how the work is cut.

    Raises:
        ValueError: one has a smaller vocabulary.
    """
    counterpart.check(sorted(models), models, size)
    cut = {role: comparison.Logits(x.hidden, x.weight[:, :size]) for role, x in models.items()}
    ids, log_probs = of_tokens(cut[wanted.by], wanted.count, layout, temperature=wanted.temperature)
    if wanted.by == wanted.of:
        return ids, log_probs
    return ids, at(cut[wanted.of], ids, layout, temperature=wanted.temperature)


def _of_all(own: Array, devices: int) -> Array:
    """The entries of all devices along `tensor`, side by side: a sum of slots, which is then the same on each."""
    slots = sharding.varying(jnp.zeros((devices, *own.shape), own.dtype), *sharding.AXES)
    slots = lax.psum(slots.at[lax.axis_index("tensor")].set(own), "tensor")
    return jnp.moveaxis(slots, 0, 1).reshape(own.shape[0], -1)
