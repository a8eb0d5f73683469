"""The fixed models' side of the head: what is compared with what, and how it enters value and gradient of a chunk.

Axes: c tokens of a chunk, v vocabulary entries of this device.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import comparison
from posttrain_jax.models.attention import MASKED


class Plan(NamedTuple):
    """What to compute."""

    temperature: float
    chunk: int
    comparisons: tuple[tuple[comparison.Divergence, float, tuple[int, ...]], ...]
    """Divergence, temperature, and which fixed models make up the other side."""


class Given(NamedTuple):
    """What belongs to each token and has no gradient."""

    targets: Int[Array, "..."]
    kept: Int[Array, "... k"] | None
    hidden: tuple[Float[Array, "... D"], ...]
    """Of each fixed model."""
    coefficients: tuple[tuple[Float[Array, "..."], ...], ...]
    """Of the fixed models in each comparison."""


def check(roles: list[str], fixed: Mapping[str, comparison.Logits], vocab_size: int) -> None:
    """Refuse models that are not given, and such as have another vocabulary."""
    for role in roles:
        if role not in fixed:
            raise ValueError(f"a comparison names the model '{role}' and there is {sorted(fixed)}: pass it as well.")
        if fixed[role].weight.shape[1] != vocab_size:
            raise ValueError(
                f"'{role}' has a vocabulary of {fixed[role].weight.shape[1]} and the scored model one of {vocab_size}:"
                " distributions can be compared over the same tokens only."
            )


def plan(temperature: float, comparisons: Mapping[str, comparison.Comparison], roles: list[str], chunk: int) -> Plan:
    """Fixed models by their place in `roles`."""

    def one(asked: comparison.Comparison):
        own = temperature if asked.temperature is None else asked.temperature
        return asked.divergence, own, tuple(roles.index(role) for role in asked.logits)

    return Plan(temperature, chunk, tuple(one(x) for x in comparisons.values()))


def sides(plan: Plan, raw: Float[Array, "c v"], allowed: Bool[Array, "c v"] | None, given: Given, weights):
    """Divergence and tempered logits of both sides, for each comparison."""
    products = [jnp.dot(x, w, preferred_element_type=jnp.float32) for x, w in zip(given.hidden, weights, strict=True)]
    for (divergence, temperature, models), coefficients in zip(plan.comparisons, given.coefficients, strict=True):
        mixed = jnp.zeros_like(raw)
        for coefficient, i in zip(coefficients, models, strict=True):
            mixed += coefficient[:, None] * products[i]
        yield divergence, tempered(raw, allowed, temperature), tempered(mixed, allowed, temperature)


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
