"""Games of two policies over a list of responses: what one is worth against another, equilibria, exact steps.

P[i, j] is the probability that response i beats j; P + P^T = 1. A player of policy pi against another pi' has

    J(pi, pi') = pi . P pi' - beta KL(pi || ref) + beta KL(pi' || ref)

and the equilibrium, single for beta above 0, is the policy that is its own best answer: pi* ~ ref exp(P pi* / beta).
Policies are log-probabilities [Y] that sum to 1, divergences in nats; beta in units of P per nat.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import tilting

Policy = Float[Array, "Y"]
Preferences = Float[Array, "Y Y"]


def value(
    preferences: Preferences, log_probs: Policy, other_log_probs: Policy, ref_log_probs: Policy, *, beta: float
) -> Float[Array, ""]:
    """J(pi, pi') of the equation above; 1/2 where both are the same.

    Source: Munos et al. 2023 (Nash learning from human feedback, arXiv:2312.00886), section 4.
    """
    wins = jnp.exp(log_probs) @ preferences @ jnp.exp(other_log_probs)
    own, other = (tilting.divergence(x, ref_log_probs) for x in (log_probs, other_log_probs))
    return wins - beta * own + beta * other


def best_response(preferences: Preferences, log_probs: Policy, ref_log_probs: Policy, *, beta: float) -> Policy:
    """What maximises J against pi: ref tilted by the win rates against it, ~ ref exp(P pi / beta)."""
    return tilting.tilted(ref_log_probs, preferences @ jnp.exp(log_probs), beta)


def dual_gap(preferences: Preferences, log_probs: Policy, ref_log_probs: Policy, *, beta: float) -> Float[Array, ""]:
    """max_a J(a, pi) - min_b J(pi, b): how much could be gained against pi; 0 at the equilibrium alone."""
    best = best_response(preferences, log_probs, ref_log_probs, beta=beta)
    attack = value(preferences, best, log_probs, ref_log_probs, beta=beta)
    return attack - value(preferences, log_probs, best, ref_log_probs, beta=beta)


def exploitability(preferences: Preferences, log_probs: Policy) -> Float[Array, ""]:
    """The same without divergences (beta = 0): max_i (P pi)_i - min_i (pi P)_i, 0 at a minimax winner."""
    probs = jnp.exp(log_probs)
    return jnp.max(preferences @ probs) - jnp.min(probs @ preferences)


def step(
    preferences: Preferences,
    log_probs: Policy,
    opponent_log_probs: Policy,
    ref_log_probs: Policy,
    *,
    beta: float,
    rate: float | Float[Array, ""],
) -> Policy:
    """(1 - rate beta) log pi + rate beta log ref + rate P pi_opponent, normalised: mirror descent on J.

    It maximises P(. > opponent) - beta KL(. || ref) - (1 / rate - beta) KL(. || pi). With the policy itself as
    opponent it is self-play (online IPO); with a half step, made likewise from the same pi, it is EGPO's second step;
    rate = eta / (beta (1 + eta)) makes the two those of Nash Mirror Prox; rate 1 / beta is the best response.

    Args:
        rate: at most 1 / beta.

    Source: Zhou et al. 2025 (EGPO, arXiv:2503.08942); Tiapkin et al. 2025 (Nash Mirror Prox, arXiv:2505.19731).
    """
    wins = preferences @ jnp.exp(opponent_log_probs)
    return jax.nn.log_softmax((1 - rate * beta) * log_probs + rate * beta * ref_log_probs + rate * wins)


def extragradient_step(
    preferences: Preferences, log_probs: Policy, ref_log_probs: Policy, *, beta: float, rate: float | Float[Array, ""]
) -> tuple[Policy, Policy]:
    """Half a step against oneself, then a step from the same place against that half step: (half, whole).

    Source: as `step`.
    """
    half = step(preferences, log_probs, log_probs, ref_log_probs, beta=beta, rate=rate)
    return half, step(preferences, log_probs, half, ref_log_probs, beta=beta, rate=rate)


def mirror_prox_rate(*, beta: float, eta: float) -> float:
    """The rate of `step` that is Nash Mirror Prox's eta; with eta = 2 beta, KL(pi* || pi_k) falls by 1 / (1 + 2 beta).

    Source: Tiapkin et al. 2025 (arXiv:2505.19731).
    """
    return eta / (beta * (1 + eta))


def equilibrium(preferences: Preferences, ref_log_probs: Policy, *, beta: float, steps: int = 2000) -> Policy:
    """pi* by Nash Mirror Prox from ref; its divergence is at most (1 + 2 beta)^-steps of the reference's."""
    rate = mirror_prox_rate(beta=beta, eta=2 * beta)

    def one(_, log_probs: Policy) -> Policy:
        return extragradient_step(preferences, log_probs, ref_log_probs, beta=beta, rate=rate)[1]

    return jax.lax.fori_loop(0, steps, one, ref_log_probs)
