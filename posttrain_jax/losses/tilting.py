"""Reward against divergence where all responses can be listed: the exact optimum, its frontier, best-of-N.

The policy that maximises E_pi[r] - beta KL(pi || ref) is ref tilted by the reward, pi(y) ~ ref(y) exp(r(y) / beta); no
policy has more reward at the same divergence. Rows are problems (prompts), Y their responses; divergences in nats.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def tilted(
    ref_log_probs: Float[Array, "*rows Y"], rewards: Float[Array, "*rows Y"], beta: float | Float[Array, ""]
) -> Float[Array, "*rows Y"]:
    """Log-probabilities of the optimum at `beta`, in reward per nat.

    Source: Peters and Schaal 2007 (reward-weighted regression); as the optimum of preference tuning, Rafailov et al.
    2023, arXiv:2305.18290, eq. 4.
    """
    return jax.nn.log_softmax(ref_log_probs + rewards / beta, axis=-1)


def log_partition(
    ref_log_probs: Float[Array, "*rows Y"], rewards: Float[Array, "*rows Y"], beta: float | Float[Array, ""]
) -> Float[Array, "*rows"]:
    """log Z = log E_ref[exp(r / beta)], the evidence of the tilted policy pi*, for which for every pi

        E_pi[r] - beta KL(pi || ref) = beta log Z - beta KL(pi || pi*)

    so that what is left of beta log Z says how far pi is from pi*, in beta nats.

    Source: Korbak et al. 2022, arXiv:2205.11275.
    """
    return jax.nn.logsumexp(ref_log_probs + rewards / beta, axis=-1)


def divergence(log_probs: Float[Array, "*rows Y"], ref_log_probs: Float[Array, "*rows Y"]) -> Float[Array, "*rows"]:
    """KL(pi || ref) by row; a response of probability 0 adds nothing."""
    probs = jnp.exp(log_probs)
    return jnp.sum(jnp.where(probs > 0, probs * (log_probs - ref_log_probs), 0), axis=-1)


def expected(log_probs: Float[Array, "*rows Y"], rewards: Float[Array, "*rows Y"]) -> Float[Array, "*rows"]:
    """E_pi[r] by row."""
    return jnp.sum(jnp.exp(log_probs) * rewards, axis=-1)


def frontier(
    ref_log_probs: Float[Array, "*rows Y"], rewards: Float[Array, "*rows Y"], betas: Float[Array, "B"]
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Mean divergence and mean reward of the optimum at each beta: the most reward that a divergence can buy.

    One beta serves all rows: that is the optimum under a limit on the mean divergence.
    """

    def one(beta: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        best = tilted(ref_log_probs, rewards, beta)
        return jnp.mean(divergence(best, ref_log_probs)), jnp.mean(expected(best, rewards))

    return jax.lax.map(one, betas)


def within(
    ref_log_probs: Float[Array, "*rows Y"], rewards: Float[Array, "*rows Y"], budget: float
) -> tuple[Float[Array, "*rows Y"], Float[Array, "*rows"]]:
    """The policy with the most reward among those within `budget` nats of the reference, and its 1 / beta.

    KL(pi || ref) of the tilted policy grows with 1 / beta (its slope is Var(r) / beta), so that 1 / beta is found by
    halving, of each row by itself. Where even the best responses alone are nearer than the budget, the policy is these,
    and 1 / beta is 10,000 over the range of the rewards. No gradient.

    Raises:
        ValueError: the budget is not positive.

    Source: Yang et al. 2024 (arXiv:2404.01730): any policy of this divergence and almost this reward is close to it.
    """
    if not budget > 0:
        raise ValueError(f"budget={budget} nats leave the reference alone: choose it above 0.")
    ref_log_probs, rewards = jax.lax.stop_gradient((ref_log_probs, rewards))
    rewards = rewards - jnp.max(rewards, axis=-1, keepdims=True)
    spread = -jnp.min(rewards, axis=-1)
    largest = 1e4 / jnp.where(spread > 0, spread, 1)

    def at(inverse: Float[Array, "*rows"]) -> Float[Array, "*rows Y"]:
        return jax.nn.log_softmax(ref_log_probs + rewards * inverse[..., None], axis=-1)

    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2
        far = divergence(at(middle), ref_log_probs) > budget
        return jnp.where(far, ends[0], middle), jnp.where(far, middle, ends[1])

    inverse = jax.lax.fori_loop(0, 60, halve, (jnp.zeros_like(largest), largest))[0]
    return at(inverse), inverse


def best_of_n(
    ref_log_probs: Float[Array, "*rows Y"], rewards: Float[Array, "*rows Y"], n: int
) -> Float[Array, "*rows Y"]:
    """Log-probabilities of the best of `n` samples of ref: F(r)^n - F(r-)^n, shared among equal rewards as in ref.

    Source: Beirami et al. 2024, arXiv:2401.01879.
    """
    probs = jnp.exp(ref_log_probs)
    mine, other = rewards[..., :, None], rewards[..., None, :]
    below = jnp.sum(jnp.where(other < mine, probs[..., None, :], 0), axis=-1)
    equal = jnp.sum(jnp.where(other == mine, probs[..., None, :], 0), axis=-1)
    return ref_log_probs - jnp.log(equal) + jnp.log((below + equal) ** n - below**n)


def best_of_n_bound(n: int) -> Float[Array, ""]:
    """log n - (n - 1) / n: KL(best of n || ref) is at most this, and equal to it where no response has much mass.

    Source: Beirami et al. 2024, arXiv:2401.01879, theorem 3.1.
    """
    return jnp.log(jnp.float32(n)) - (n - 1) / n


def demonstrated_kl_coef(divergence: float, *, error: float) -> float:
    """error / KL(expert || clone): the largest weight of a divergence from a clone that costs at most `error`.

    A policy within `error` of the regularised optimum is then within 2 `error` of the expert's reward, as E_expert[R] -
    E_pi[R] <= kl_coef KL(expert || clone) + error. The reference is the clone, fine-tuned on N demonstrations: its
    divergence falls as 1 / N, so the weight may grow with N.

    Args:
        divergence: of whole completions, in nats: how much less likely held-out demonstrations are to the clone than to
            the expert.
        error: in units of the reward.

    Source: Tiapkin et al. 2023 (demonstration-regularised RL, arXiv:2310.17303); the bound derived anew.
    """
    if not (divergence > 0 and error > 0):
        raise ValueError(f"divergence={divergence} and error={error} bound nothing: both must be above 0.")
    return error / divergence
