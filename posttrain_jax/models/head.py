"""The vocabulary head: hidden states in, per-token statistics out, and never an array `[tokens, V]`.

Tokens go through in chunks; the backward pass recomputes each chunk's logits. Rows are cut over (data, fsdp), the
vocabulary over tensor: each device sees its own tokens and its own slice of the vocabulary. Fixed models that the
scored one is compared with go through the same chunks, and so do entries of a model that is not there.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import comparison, types
from posttrain_jax.models import counterpart, sharding


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the work is cut."""

    mesh: Mesh
    rules: sharding.Rules
    chunk: int
    """Tokens (of one device) whose logits exist at a time."""


def token_stats(
    logits: comparison.Logits,
    targets: Int[Array, "P G T"],
    layout: Layout,
    *,
    temperature: float,
    kept_ids: Int[Array, "P G T k"] | None = None,
    comparisons: Mapping[str, comparison.Request] | None = None,
    fixed: Mapping[str, comparison.Logits] | None = None,
) -> types.TokenStats:
    """Log-probability of each target, entropy and divergences, in nats, of softmax(hidden @ weight / temperature).

    Args:
        logits: of the model that is scored. The gradient of every result flows to its two factors and nowhere else.
        targets: the tokens' ids.
        layout: how the work is cut.
        temperature: divides the float32 logits, as in sampling (divided by it, `hidden` would be rounded once more).
        kept_ids: the only ids with non-zero probability at each position (-1 fills up), for every model; None for all.
        comparisons: the divergences to compute, by name.
        fixed: the models that they are from, by role, of any width; entries behind the scored model's are left out.

    Reverse mode only.

    Raises:
        ValueError: a comparison names a model that is not given, or one with a smaller vocabulary.
    """
    comparisons, fixed = comparisons or {}, fixed or {}
    roles, (whole, stored) = comparison.roles(comparisons), counterpart.apart(comparisons)
    counterpart.check(roles, fixed, logits.weight.shape[1])
    spread = functools.partial(jnp.broadcast_to, shape=targets.shape)
    given = counterpart.Given(
        targets,
        kept_ids,
        hidden=tuple(fixed[role].hidden for role in roles),
        coefficients=tuple(
            tuple(spread(jnp.asarray(x, jnp.float32)) for x in one.logits.values()) for one in whole.values()
        ),
        entries=tuple((one.ids, one.log_probs) for one in stored.values()),
    )
    plan = functools.partial(counterpart.plan, temperature, comparisons, roles)

    def island(hidden, given, weights):
        weights = [
            sharding.gather_width(weight.astype(x.dtype), layout.rules, axis=0)
            for weight, x in zip(weights, (hidden, *given.hidden), strict=True)
        ]
        rows = sharding.varying(hidden.reshape(-1, hidden.shape[-1]), "tensor")
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), given)
        chunk = min(layout.chunk, given.targets.size)
        stats = _chunked(plan(chunk), rows, weights[0], flat, weights[1:])
        return jax.tree.map(lambda x: x.reshape(given.targets.shape), stats)

    rows, columns = Spec(sharding.ROWS), layout.rules.spec("head", stacked=False)
    weights = (logits.weight, *(fixed[role].weight[:, : logits.weight.shape[1]] for role in roles))
    logps, entropy, divergences = jax.shard_map(
        island, mesh=layout.mesh, in_specs=(rows, rows, columns), out_specs=rows
    )(logits.hidden, lax.stop_gradient(given), (weights[0], *lax.stop_gradient(weights[1:])))
    return types.TokenStats(
        logps=logps, entropy=entropy, divergences=dict(zip((*whole, *stored), divergences, strict=True))
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _chunked(plan: counterpart.Plan, hidden, weight, given: counterpart.Given, weights):
    return _forward(plan, hidden, weight, given, weights)[0]


def _forward(plan: counterpart.Plan, hidden, weight, given: counterpart.Given, weights):
    size = given.targets.size

    def one(part):
        raw, allowed, hit = _logits(part[0], weight, part[1])
        logits = counterpart.tempered(raw, allowed, plan.temperature)
        top = lax.pmax(logits.max(-1), "tensor")
        likely = jnp.exp(logits - top[:, None])
        sums = jnp.stack([likely.sum(-1), (likely * logits).sum(-1), jnp.where(hit, logits, 0).sum(-1)])
        total, weighted, target = lax.psum(sums, "tensor")
        log_norm = top + jnp.log(total)
        values, norms = [], []
        for divergence, p, q in counterpart.sides(plan, raw, allowed, part[1], weights):
            own, other = counterpart.log_norm(p), counterpart.log_norm(q)
            both = p - own[:, None], q - other[:, None]
            found = counterpart.look(divergence, *both)
            norms.append((own, other, *found))
            terms = counterpart.settled(divergence, found).terms(*both)
            values.append(lax.psum(terms.sum(-1), "tensor"))
        for compare, p, ids, log_q in counterpart.entries(plan, raw, part[1]):
            norms.append((counterpart.log_norm(p),))
            values.append(compare(counterpart.picked(p, norms[-1][0], ids), log_q))
        return (target - log_norm, log_norm - weighted / total, tuple(values)), (log_norm, tuple(norms))

    found = lax.map(one, cut((hidden, given), plan.chunk))
    stats, norms = jax.tree.map(lambda x: x.reshape(-1)[:size], found)
    return stats, (hidden, weight, given, weights, stats[1], norms)


def _backward(plan: counterpart.Plan, residuals, gradients):
    hidden, weight, given, weights, *residuals = residuals

    def one(weight_gradient, part):
        hidden, given, entropy, (log_norm, norms), (to_logps, to_entropy, to_divergences) = part
        raw, allowed, hit = _logits(hidden, weight, given)
        log_probs = counterpart.tempered(raw, allowed, plan.temperature) - log_norm[:, None]
        # d log p(y) / d z = [v = y] - p(v);  d H / d z = -p(v) (log p(v) + H)
        pull = to_logps[:, None] + to_entropy[:, None] * (log_probs + entropy[:, None])
        to_logits = (jnp.where(hit, to_logps[:, None], 0) - jnp.exp(log_probs) * pull) / plan.temperature
        sides, count = counterpart.sides(plan, raw, allowed, given, weights), len(plan.comparisons)
        for (divergence, p, q), norm, gradient, (_, temperature, _) in zip(
            sides, norms[:count], to_divergences[:count], plan.comparisons, strict=True
        ):
            of_tokens = counterpart.settled(divergence, norm[2:])
            pull = counterpart.pull(of_tokens, p - norm[0][:, None], q - norm[1][:, None])
            to_logits += (gradient / temperature)[:, None] * pull
        stored = counterpart.entries(plan, raw, given)
        for (compare, p, ids, log_q), (norm,), gradient, (_, temperature) in zip(
            stored, norms[count:], to_divergences[count:], plan.stored, strict=True
        ):
            to_logits += counterpart.pull_entries(compare, p, norm, ids, log_q, gradient) / temperature
        to_logits = to_logits.astype(weight.dtype)
        # Behind the barrier it is a plain product, which a CPU multiplies faster than one of a transposed operand.
        transposed = lax.optimization_barrier(hidden.T)
        weight_gradient += jnp.dot(transposed, to_logits, preferred_element_type=jnp.float32)
        return weight_gradient, jnp.dot(to_logits, weight.T, preferred_element_type=jnp.float32).astype(hidden.dtype)

    start = sharding.varying(jnp.zeros(weight.shape, jnp.float32), *sharding.AXES)
    parts = cut((hidden, given, *residuals, gradients), plan.chunk)
    weight_gradient, hidden_gradient = lax.scan(one, start, parts)
    hidden_gradient = hidden_gradient.reshape(-1, hidden.shape[-1])[: given.targets.size]
    return hidden_gradient, weight_gradient.astype(weight.dtype), None, None


_chunked.defvjp(_forward, _backward)


def _logits(
    hidden: Float[Array, "c D"], weight: Float[Array, "D v"], given: counterpart.Given
) -> tuple[Float[Array, "c v"], Bool[Array, "c v"] | None, Bool[Array, "c v"]]:
    """This device's slice of the logits, where they are allowed (None: everywhere), and where the target stands."""
    logits = jnp.dot(hidden, weight, preferred_element_type=jnp.float32)
    first = lax.axis_index("tensor") * weight.shape[1]
    ids = lax.broadcasted_iota(given.targets.dtype, logits.shape, 1) + first.astype(given.targets.dtype)
    kept = given.kept
    allowed = None if kept is None else _among(kept - first.astype(kept.dtype), weight.shape[1])
    return logits, allowed, ids == given.targets[:, None]


def _among(kept: Int[Array, "c k"], size: int) -> Bool[Array, "c v"]:
    """Where the ids, counted from this slice's first, fall into the slice of `size`."""
    inside = (kept >= 0) & (kept < size)
    column = jnp.where(inside, kept, size)
    row = lax.broadcasted_iota(kept.dtype, kept.shape, 0)
    none = sharding.varying(jnp.zeros((kept.shape[0], size), bool), *sharding.AXES)
    return none.at[row, column].set(True, mode="drop")


def cut(tree, chunk: int):
    """Leading axis of every array into pieces of `chunk`, zeros filling up the last."""

    def one(x: Array) -> Array:
        pieces = -(-x.shape[0] // chunk)
        x = jnp.pad(x, [(0, pieces * chunk - x.shape[0])] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(pieces, chunk, *x.shape[1:])

    return jax.tree.map(one, tree)
