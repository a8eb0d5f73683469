"""The vocabulary head: hidden states in, per-token statistics out, and never an array `[tokens, V]`.

Tokens go through in chunks; the backward pass recomputes each chunk's logits. Rows are cut over (data, fsdp), the
vocabulary over tensor: each device sees its own tokens and its own slice of the vocabulary.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.models import sharding
from posttrain_jax.models.attention import MASKED

Pair = tuple[Float[Array, "N"], Float[Array, "N"]]


def token_stats(
    hidden: Float[Array, "P G T D"],
    weight: Float[Array, "D V"],
    targets: Int[Array, "P G T"],
    *,
    temperature: float,
    mesh: Mesh,
    rules: sharding.Rules,
    chunk: int,
    kept_ids: Int[Array, "P G T k"] | None = None,
) -> tuple[Float[Array, "P G T"], Float[Array, "P G T"]]:
    """Log-probability of each target and entropy of its distribution, in nats: softmax(hidden @ weight / temperature).

    Args:
        temperature: divides the float32 logits, as in sampling (divided by it, `hidden` would be rounded once more).
        chunk: tokens (of one device) whose logits exist at a time.
        kept_ids: the only ids with non-zero probability at each position (-1 fills up); None for all.

    The gradient flows to `hidden` and `weight`, of both results. Reverse mode only.
    """

    def island(hidden, weight, targets, kept_ids):
        weight = sharding.gather_width(weight.astype(hidden.dtype), rules, axis=0)
        rows = sharding.varying(hidden.reshape(-1, hidden.shape[-1]), "tensor")
        kept = None if kept_ids is None else kept_ids.reshape(targets.size, -1)
        pair: Any = _chunked(rows, weight, targets.reshape(-1), kept, temperature, min(chunk, targets.size))
        return tuple(x.reshape(targets.shape) for x in pair)

    rows = Spec(sharding.ROWS)
    return jax.shard_map(
        island, mesh=mesh, in_specs=(rows, rules.spec("head", stacked=False), rows, rows), out_specs=(rows, rows)
    )(hidden, weight, targets, kept_ids)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _chunked(hidden, weight, targets, kept, temperature: float, chunk: int) -> Pair:
    return _forward(hidden, weight, targets, kept, temperature, chunk)[0]


def _forward(hidden, weight, targets, kept, temperature: float, chunk: int):
    def one(part):
        logits, hit = _logits(part[0], weight, part[1], part[2], temperature)
        top = lax.pmax(logits.max(-1), "tensor")
        weights = jnp.exp(logits - top[:, None])
        sums = jnp.stack([weights.sum(-1), (weights * logits).sum(-1), jnp.where(hit, logits, 0).sum(-1)])
        total, weighted, target = lax.psum(sums, "tensor")
        log_norm = top + jnp.log(total)
        return target - log_norm, log_norm - weighted / total, log_norm

    parts = tuple(_cut(x, chunk) for x in (hidden, targets, kept))
    logps, entropy, log_norm = (x.reshape(-1)[: targets.size] for x in lax.map(one, parts))
    return (logps, entropy), (hidden, weight, targets, kept, log_norm, entropy)


def _backward(temperature: float, chunk: int, residuals, gradients):
    hidden, weight, targets, kept, log_norm, entropy = residuals

    def one(weight_gradient, part):
        hidden, targets, kept, log_norm, entropy, to_logps, to_entropy = part
        logits, hit = _logits(hidden, weight, targets, kept, temperature)
        log_probs = logits - log_norm[:, None]
        # d log p(y) / d z = [v = y] - p(v);  d H / d z = -p(v) (log p(v) + H)
        pull = to_logps[:, None] + to_entropy[:, None] * (log_probs + entropy[:, None])
        to_logits = jnp.where(hit, to_logps[:, None], 0) - jnp.exp(log_probs) * pull
        to_logits = (to_logits / temperature).astype(weight.dtype)
        # Behind the barrier it is a plain product, which a CPU multiplies faster than one of a transposed operand.
        transposed = lax.optimization_barrier(hidden.T)
        weight_gradient += jnp.dot(transposed, to_logits, preferred_element_type=jnp.float32)
        return weight_gradient, jnp.dot(to_logits, weight.T, preferred_element_type=jnp.float32).astype(hidden.dtype)

    parts = tuple(_cut(x, chunk) for x in (hidden, targets, kept, log_norm, entropy, *gradients))
    start = sharding.varying(jnp.zeros(weight.shape, jnp.float32), *sharding.AXES)
    weight_gradient, hidden_gradient = lax.scan(one, start, parts)
    hidden_gradient = hidden_gradient.reshape(-1, hidden.shape[-1])[: targets.size]
    return hidden_gradient, weight_gradient.astype(weight.dtype), None, None


_chunked.defvjp(_forward, _backward)


def _logits(hidden, weight, targets, kept, temperature: float) -> tuple[Float[Array, "c v"], Bool[Array, "c v"]]:
    """This device's slice of the tempered logits, and where the target stands in it."""
    logits = jnp.dot(hidden, weight, preferred_element_type=jnp.float32) / temperature
    first = lax.axis_index("tensor") * weight.shape[1]
    ids = lax.broadcasted_iota(targets.dtype, logits.shape, 1) + first.astype(targets.dtype)
    if kept is not None:
        logits = jnp.where(_among(kept - first.astype(kept.dtype), weight.shape[1]), logits, MASKED)
    return logits, ids == targets[:, None]


def _among(kept: Int[Array, "c k"], size: int) -> Bool[Array, "c v"]:
    """Where the ids, counted from this slice's first, fall into the slice of `size`."""
    inside = (kept >= 0) & (kept < size)
    column = jnp.where(inside, kept, size)
    row = lax.broadcasted_iota(kept.dtype, kept.shape, 0)
    none = sharding.varying(jnp.zeros((kept.shape[0], size), bool), *sharding.AXES)
    return none.at[row, column].set(True, mode="drop")


def _cut(x: Array | None, chunk: int) -> Array | None:
    """Leading axis into pieces of `chunk`, zeros filling up the last."""
    if x is None:
        return None
    pieces = -(-x.shape[0] // chunk)
    x = jnp.pad(x, [(0, pieces * chunk - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(pieces, chunk, *x.shape[1:])
