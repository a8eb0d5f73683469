"""Distributions that a policy is to become, p(y) = P(y) / Z: the factor that a reward puts on the reference.

log P(y) = log ref(y) + log-factor(reward). Sequences, in nats.

Source: Khalifa et al. 2021 (GDC, arXiv:2012.11635); Go et al. 2023 (f-DPG, arXiv:2302.08215), section 3.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group


@runtime_checkable
class Target(Protocol):
    """From rewards to log-factors."""

    def __call__(self, rewards: Float[Array, "*shape"], /) -> Float[Array, "*shape"]:
        """log P(y) - log ref(y)."""
        ...


@dataclasses.dataclass(frozen=True)
class Tilted:
    """exp(r / beta): the optimum of reward less beta KL(pi || ref). With beta 1, the exponential family of GDC."""

    beta: float
    """Reward per nat; positive."""

    def __post_init__(self):
        if not self.beta > 0:
            raise ValueError(f"beta={self.beta} has no tilted reference: choose it above 0.")

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """r / beta."""
        return rewards / self.beta


@dataclasses.dataclass(frozen=True)
class Satisfied:
    """1 where the reward is above `above`, else almost 0: the reference, given that a condition holds."""

    above: float = 0.5
    """In the unit of the reward."""
    floor: float = -30.0
    """Log-factor of what breaks the condition, in nats: finite, as KL(pi || p) would be infinite."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """0 or the floor."""
        return jnp.where(rewards > self.above, 0.0, self.floor)


def log_normalizer(
    log_weights: Float[Array, "P G"], counted: Bool[Array, "P G"], group_ids: Int[Array, "P"]
) -> Float[Array, "P"]:
    """log mean P / q over the counted completions of each group, which q sampled: an estimate of log Z, a little low.

    Args:
        log_weights: log P - log q of whole completions.
        counted: completions that were scored; a group without one gets 0.
        group_ids: equal on the rows of one group.
    """
    held = jnp.where(counted, log_weights, -jnp.inf)
    top = group.maximum(held, group_ids)
    safe = jnp.where(jnp.isfinite(top), top, 0)
    sums = group.total(jnp.where(counted, jnp.exp(held - safe[:, None]), 0), group_ids)
    members = group.total(counted.astype(jnp.float32), group_ids)
    return jnp.where(members > 0, safe + jnp.log(jnp.where(members > 0, sums / jnp.maximum(members, 1), 1)), 0)


def fit(
    features: Float[Array, "N K"], moments: Float[Array, "K"], log_weights: Float[Array, "N"], *, steps: int = 50
) -> Float[Array, "K"]:
    """Coefficients c for which exp(c . features), on top of the weights, gives the features their wanted means.

    They minimise the convex log sum_n exp(w_n + c . features_n) - c . moments; found by damped Newton steps.

    Args:
        features: of samples of a reference.
        moments: wanted means, inside the convex hull of the features: else c grows without end.
        log_weights: log reference / sampler of the samples, up to a constant; zeros where the reference sampled them.
        steps: of Newton's method.

    Source: Khalifa et al. 2021 (GDC, arXiv:2012.11635), section 3.1, by self-normalised importance sampling.
    """

    def objective(coefs: Float[Array, "K"]) -> Float[Array, ""]:
        return jax.nn.logsumexp(log_weights + features @ coefs) - coefs @ moments

    def step(_, coefs: Float[Array, "K"]) -> Float[Array, "K"]:
        slope, bend = jax.grad(objective)(coefs), jax.hessian(objective)(coefs)
        move = jnp.linalg.solve(bend + 1e-6 * jnp.eye(coefs.shape[0]), slope)
        # a feature seldom seen makes the bend tiny and the step huge
        return coefs - move / jnp.maximum(1, jnp.max(jnp.abs(move)))

    return jax.lax.fori_loop(0, steps, step, jnp.zeros(features.shape[1], jnp.float32))
