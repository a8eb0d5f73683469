"""Divergences of the policy from a reference, in nats: exact over a vocabulary, or estimated from sampled tokens.

An estimator whose value is right need not have the right gradient, so the name says which of the two is meant:
`*_value` and `*_reward` carry no gradient, `*_loss` is to be minimised. The k1 estimator has no loss form: its
gradient, that of the log-probability, is zero in expectation whatever the reference. `sampled_*` serve every
f-divergence; the k forms are KL(policy || ref) by its usual names, with d = log ref - log policy.

Tokens are taken one by one: expectations are over the next token given the prefix, the prefix not being differentiated.
Log-ratios of sampled tokens are held within `ratio.LIMIT`.

Source: Schulman 2020 (joschu.net/blog/kl-approx.html); gradients: Tang and Munos 2025 (arXiv:2506.09477).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison
from posttrain_jax.losses import ratio

Penalty = Callable[[Float[Array, "*shape"], Float[Array, "*shape"]], Float[Array, "*shape"]]
"""From log-probabilities of policy and reference to what is minimised: `k2_loss`, `k3_loss`, ..."""

NOTHING = -1e30
"""The log-probability of an impossible entry: finite, so that 0 log 0 is 0."""


def exact(
    divergence: comparison.Divergence | comparison.ByToken,
    log_p: Float[Array, "*shape V"],
    log_q: Float[Array, "*shape V"],
) -> Float[Array, "*shape"]:
    """D(p || q) = sum_v terms(log p_v, log q_v), of whole distributions: for small vocabularies and for tests.

    `models.head` computes the same without an array `[tokens, V]`.

    Args:
        divergence: of `losses.generator`, `losses.power`, `losses.skew`, `losses.variation` or `losses.adaptive`.
        log_p: log-probabilities of the first; -inf is an impossible entry.
        log_q: those of the second. Both are differentiated.
    """
    both = jnp.maximum(log_p, NOTHING), jnp.maximum(log_q, NOTHING)
    if isinstance(divergence, comparison.ByToken):
        divergence = divergence.at(divergence.look(*both, lambda x: jnp.sum(x, axis=-1)))
    return jnp.sum(divergence.terms(*both), axis=-1)


def sampled_value(
    divergence: comparison.Divergence, logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """f(u) / u, u = policy / ref: unbiased and never negative; k3 under the reverse KL.

    Unbiased where the policy can sample all that the reference can; no gradient.
    """
    gaps = _log_ratios(logps, ref_logps)
    return divergence.terms(jnp.zeros_like(gaps), -gaps)


def sampled_reward(
    divergence: comparison.Divergence, logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """f'(u): taken off the reward, it gives the exact gradient of D(policy || ref); k1 under the reverse KL.

    Not `sampled_value`, whose gradient as a reward is another divergence's. Constant shifts are a baseline's.
    """
    gaps = _log_ratios(logps, ref_logps)
    return divergence.slopes(jnp.zeros_like(gaps), -gaps)


def sampled_loss(
    divergence: comparison.Divergence,
    logps: Float[Array, "*shape"],
    ref_logps: Float[Array, "*shape"],
    log_ratios: Float[Array, "*shape"] | None = None,
) -> Float[Array, "*shape"]:
    """r f(u) / u with the gradient r f'(u) of the log-probability: both those of D(policy || ref), in expectation.

    Under the reverse KL the value of k3 with the gradient of k2, both times r.

    Args:
        divergence: which.
        logps: of the policy; only this is differentiated.
        ref_logps: of the reference.
        log_ratios: log policy / old of each token, in nats, where an older policy sampled it (`ratio.token`); None
            where the policy itself did.

    Source: the gradient is d(r f(u) / u) / d log policy; for the reverse KL DeepSeek-AI 2025 (DeepSeek-V3.2,
    arXiv:2512.02556).
    """
    weights = 1.0 if log_ratios is None else jax.lax.stop_gradient(ratio.exp(log_ratios))
    values = weights * sampled_value(divergence, logps, ref_logps)
    slopes = weights * sampled_reward(divergence, logps, ref_logps)
    return values + slopes * (logps - jax.lax.stop_gradient(logps))


def combined(values: Float[Array, "*shape"], losses: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The first's value with the second's gradient, each chosen by itself: `combined(k3_loss(..), k2_loss(..))`."""
    return jax.lax.stop_gradient(values) + losses - jax.lax.stop_gradient(losses)


@dataclasses.dataclass(frozen=True)
class Combined:
    """A `Penalty` with the value of one and the gradient of another: `GRPO(penalty=Combined(k3_loss, k2_loss))`."""

    value: Penalty
    gradient: Penalty
    """Such a one as holds by itself."""

    def __post_init__(self):
        check_penalty(self.gradient)

    def __call__(self, logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """See `combined`."""
        return combined(self.value(logps, ref_logps), self.gradient(logps, ref_logps))


def _log_ratios(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.clip(jax.lax.stop_gradient(logps - ref_logps), -ratio.LIMIT, ratio.LIMIT)


def k1_value(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """-d: unbiased, of either sign. As a penalty in the reward it gives the exact gradient of the sequence's KL."""
    return jax.lax.stop_gradient(logps - ref_logps)


def k2_loss(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """d^2 / 2: a biased value whose expected gradient is exactly that of KL(policy || ref)."""
    return (logps - jax.lax.stop_gradient(ref_logps)) ** 2 / 2


def k3_loss(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(d) - d - 1: unbiased and never negative; its expected gradient is that of KL(ref || policy) instead.

    Log-ratios are held within `ratio.LIMIT`, beyond which there is no gradient.

    Source: Shao et al. 2024 (GRPO, arXiv:2402.03300), eq. 4.
    """
    d = jnp.clip(jax.lax.stop_gradient(ref_logps) - logps, -ratio.LIMIT, ratio.LIMIT)
    return jnp.expm1(d) - d


def absolute_loss(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|d|: holds every token back alike; its gradient is 0 where policy and reference agree exactly."""
    d = logps - jax.lax.stop_gradient(ref_logps)
    return d * jax.lax.stop_gradient(jnp.sign(d))  # jnp.abs has the gradient 1 at 0


def check_penalty(penalty: Penalty) -> None:
    """Refuse estimators that hold nothing when they are minimised, k1 first of all.

    Raises:
        ValueError: the gradient by the log-probability does not depend on the reference: it is 0, or in expectation is.
    """
    if penalty in (k2_loss, k3_loss, absolute_loss):
        return
    near, far = jax.vmap(jax.grad(penalty), (None, 0))(jnp.float32(-1.0), jnp.array([-1.0, -3.0]))
    if near == far:
        raise ValueError(
            f"as a loss {penalty} has the gradient {float(near):g} of the log-probability whatever the reference is,"
            " which is 0 in expectation (k1): take k2_loss or k3_loss, or put it into the reward as RLOO does."
        )
