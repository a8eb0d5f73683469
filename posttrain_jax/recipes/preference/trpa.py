"""TRPA: trust region preference approximation (Su et al. 2025, arXiv:2504.04524), as in the authors' code.

    L = mean_{(i, j): R_i > R_j} -log sigmoid(kappa_i beta [rho_i - rho_j]) + c mean_t (e^q - q - 1)
    rho = (1/n) sum_t log pi(y_t)/pi_ref(y_t),   q = log pi_old(y_t)/pi(y_t),   kappa_i = kappa where R_i is the best

All pairs of a prompt's completions that differ in reward, averaged over all pairs of the batch. Rewards are levels by
rule, such as 1 for a right answer, 0 for a wrong one, -1 for an unreadable one, -2 for a bad form. If the whole batch
has no pair, L_pref = mean_i -log sigmoid(+-rho_i), + for the best, without beta. The second term acts from the second
update of a rollout on. With two completions, kappa = 1 and c = 0 it is `LengthNormalizedDPO`.

Pairs are formed within a row: keep a group in one. Differs from the code: it forms pairs within micro-batches, which
may part a group; q is held within `ratio.LIMIT`, there 10 nats; its option sqrt(mean + 0.25) does not add over rows.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, implicit_reward, link, ranking, weight
from posttrain_jax.recipes.preference import setting


@dataclasses.dataclass(frozen=True)
class TRPA:
    """DPO on all pairs of the policy's own completions, held near the policy that wrote them."""

    beta: float = 0.1
    """Scale of log-ratios per token (beta)."""
    best: float = 1.0
    """Rewards of at least this are of the best level."""
    best_factor: float = 2.5
    """What the margin is multiplied by where the better one is of the best level (kappa)."""
    trust_coef: float = 1e-3
    """Weight of the divergence from the old policy (c)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("best_factor", self.best_factor)
        setting.check_coefficient("trust_coef", self.trust_coef)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Every pair of the batch counts alike; completions whose reward is NaN are in none."""
        mask = rollout.groups.completion_mask
        levels = jnp.where(jnp.any(mask, axis=-1), rewards, jnp.nan)
        pairs, scored = ranking.better(levels), ~jnp.isnan(levels)
        total, counted = jnp.sum(pairs), mask & scored[:, :, None]
        alone = jnp.where(total > 0, 0, 1 / jnp.maximum(jnp.sum(scored.astype(jnp.float32)), 1))
        weights = jnp.broadcast_to(1 / jnp.maximum(total, 1), rewards.shape)
        return types.PolicyBatch(
            completion_mask=mask,
            advantages=advantage.per_token(jnp.sum(pairs - pairs.mT, axis=2), counted),
            token_weights=weight.token_mean(counted),
            ref_logps=ref_logps,
            extra={"levels": levels, "pair_weights": weights, "alone_weights": jnp.where(scored, alone, 0)},
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equations above."""
        if batch.ref_logps is None:
            raise ValueError("TRPA compares the policy with a reference: pass ref_logps to credit.")
        levels = batch.extra["levels"]
        ratios = implicit_reward.log_ratio_mean(policy.logps, batch.ref_logps, batch.completion_mask)
        best = levels >= self.best
        factors = self.beta * jnp.where(best, self.best_factor, 1.0)
        margins = factors[:, :, None] * (ratios[:, :, None] - ratios[:, None, :])
        losses = jnp.sum(ranking.better(levels) * link.logistic(margins), axis=2)
        alone = link.logistic(jnp.where(best, ratios, -ratios))
        old_logps = policy.logps if batch.old_logps is None else batch.old_logps
        trust = jnp.sum(batch.token_weights * divergence.k3_loss(policy.logps, old_logps))
        preference = jnp.sum(batch.extra["pair_weights"] * losses + batch.extra["alone_weights"] * alone)
        return preference + self.trust_coef * trust, {"reward": self.beta * ratios, "entropy": policy.entropy}
