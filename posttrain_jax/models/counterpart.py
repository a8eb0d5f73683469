"""The fixed models' side of the head: what is compared with what, and how it enters value and gradient of a chunk.

Axes: c tokens of a chunk, v vocabulary entries of this device.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import comparison
from posttrain_jax.models import sharding
from posttrain_jax.models.attention import MASKED

NOTHING = -1e30
"""The log-probability of an entry that is not there, as `losses.divergence` has it."""


class Plan(NamedTuple):
    """What to compute."""

    temperature: float
    chunk: int
    comparisons: tuple[tuple[comparison.Divergence | comparison.ByToken, float, tuple[int, ...]], ...]
    """Divergence, temperature, and which fixed models make up the other side."""
    stored: tuple[tuple[comparison.OfEntries, float], ...]
    """Of sides whose entries are given: what is made of them, and the temperature."""


class Given(NamedTuple):
    """What belongs to each token and has no gradient."""

    targets: Int[Array, "..."]
    kept: Int[Array, "... k"] | None
    hidden: tuple[Float[Array, "... D"], ...]
    """Of each fixed model."""
    coefficients: tuple[tuple[Float[Array, "..."], ...], ...]
    """Of the fixed models in each comparison."""
    entries: tuple[tuple[Int[Array, "... e"], Float[Array, "... e"]], ...]
    """Ids and log-probabilities of each stored side."""


def check(roles: list[str], fixed: Mapping[str, comparison.Logits], vocab_size: int) -> None:
    """Refuse models that are not given, and such as have a smaller vocabulary."""
    for role in roles:
        if role not in fixed:
            raise ValueError(
                f"a comparison names the model '{role}' and there is {sorted(fixed) or 'none'}: pass it as well."
            )
        if fixed[role].weight.shape[1] < vocab_size:
            raise ValueError(
                f"'{role}' has a vocabulary of {fixed[role].weight.shape[1]} and the scored model one of {vocab_size}:"
                " it says nothing of the others; take a model with as many."
            )


def plan(temperature: float, comparisons: Mapping[str, comparison.Request], roles: list[str], chunk: int) -> Plan:
    """Fixed models by their place in `roles`."""

    def own(asked: comparison.Comparison | comparison.Stored) -> float:
        return temperature if asked.temperature is None else asked.temperature

    whole, stored = apart(comparisons)
    places = [tuple(roles.index(role) for role in one.logits) for one in whole.values()]
    return Plan(
        temperature,
        chunk,
        tuple((one.divergence, own(one), at) for one, at in zip(whole.values(), places, strict=True)),
        tuple((one.compare, own(one)) for one in stored.values()),
    )


def apart(
    comparisons: Mapping[str, comparison.Request],
) -> tuple[dict[str, comparison.Comparison], dict[str, comparison.Stored]]:
    """Comparisons with models that run, and with entries that are given: computed in this order."""
    whole = {name: one for name, one in comparisons.items() if isinstance(one, comparison.Comparison)}
    return whole, {name: one for name, one in comparisons.items() if isinstance(one, comparison.Stored)}


def sides(plan: Plan, raw: Float[Array, "c v"], allowed: Bool[Array, "c v"] | None, given: Given, weights):
    """Divergence and tempered logits of both sides, for each comparison."""
    products = [jnp.dot(x, w, preferred_element_type=jnp.float32) for x, w in zip(given.hidden, weights, strict=True)]
    for (divergence, temperature, models), coefficients in zip(plan.comparisons, given.coefficients, strict=True):
        mixed = jnp.zeros_like(raw)
        for coefficient, i in zip(coefficients, models, strict=True):
            mixed += coefficient[:, None] * products[i]
        yield divergence, tempered(raw, allowed, temperature), tempered(mixed, allowed, temperature)


def entries(plan: Plan, raw: Float[Array, "c v"], given: Given):
    """What is made of entries, p's tempered logits, ids and q's log-probabilities, for each stored side."""
    for (compare, temperature), (ids, log_q) in zip(plan.stored, given.entries, strict=True):
        yield compare, raw / temperature, ids, log_q


def picked(logits: Float[Array, "c v"], norm: Float[Array, "c"], ids: Int[Array, "c e"]) -> Float[Array, "c e"]:
    """Log-probabilities of these ids, wherever in the vocabulary they lie; -1e30 of -1."""
    column, inside = _columns(ids, logits.shape[1])
    found = jnp.take_along_axis(logits, jnp.where(inside, column, 0), axis=1)
    found = lax.psum(jnp.where(inside, found, 0), "tensor") - norm[:, None]
    return jnp.where(ids < 0, NOTHING, found)


def pull_entries(compare: comparison.OfEntries, logits, norm, ids, log_q, gradient) -> Float[Array, "c v"]:
    """d compare / d z, times `gradient` of each token: what the entries pull, less p_v of all that they pull."""
    _, back = jax.vjp(lambda log_p: compare(log_p, log_q), picked(logits, norm, ids))
    pulled = jnp.where(ids < 0, 0, back(gradient)[0])
    column, inside = _columns(ids, logits.shape[1])
    row = lax.broadcasted_iota(ids.dtype, ids.shape, 0)
    at = jnp.where(inside, column, logits.shape[1])
    nothing = sharding.varying(jnp.zeros(logits.shape, logits.dtype), *sharding.AXES)
    return nothing.at[row, at].add(pulled, mode="drop") - jnp.exp(logits - norm[:, None]) * pulled.sum(-1)[:, None]


def _columns(ids: Int[Array, "c e"], size: int) -> tuple[Int[Array, "c e"], Bool[Array, "c e"]]:
    """Where ids stand in this device's slice of the vocabulary, and whether they do."""
    column = ids - lax.axis_index("tensor").astype(ids.dtype) * size
    return column, (ids >= 0) & (column >= 0) & (column < size)


def look(
    divergence: comparison.Divergence | comparison.ByToken, log_p: Float[Array, "c v"], log_q: Float[Array, "c v"]
) -> tuple[Float[Array, "c"], ...]:
    """What a divergence that differs by token has to know of each; nothing for another."""
    if isinstance(divergence, comparison.ByToken):
        return (divergence.look(log_p, log_q, lambda x: lax.psum(x.sum(-1), "tensor")),)
    return ()


def settled(
    divergence: comparison.Divergence | comparison.ByToken, found: tuple[Float[Array, "c"], ...]
) -> comparison.Divergence:
    """The divergence of these tokens, by what `look` found."""
    return divergence.at(*found) if isinstance(divergence, comparison.ByToken) else divergence


def pull(
    divergence: comparison.Divergence, log_p: Float[Array, "c v"], log_q: Float[Array, "c v"]
) -> Float[Array, "c v"]:
    """d D / d z, the logits of p: slopes_v - p_v sum(slopes)."""
    slopes = divergence.slopes(log_p, log_q)
    return slopes - jnp.exp(log_p) * lax.psum(slopes.sum(-1), "tensor")[:, None]


def log_norm(logits: Float[Array, "c v"]) -> Float[Array, "c"]:
    """log sum exp over the vocabulary of all devices."""
    top = lax.pmax(logits.max(-1), "tensor")
    return top + jnp.log(lax.psum(jnp.exp(logits - top[:, None]).sum(-1), "tensor"))


def tempered(
    logits: Float[Array, "c v"], allowed: Bool[Array, "c v"] | None, temperature: float
) -> Float[Array, "c v"]:
    """Logits over the temperature, those that are not allowed at the least there is."""
    logits = logits / temperature
    return logits if allowed is None else jnp.where(allowed, logits, MASKED)
