"""HyPO: offline preferences, online divergence (Song et al. 2024, The Importance of Online Data, arXiv:2406.01462).

    L = mean_pairs L_DPO + lambda mean_samples sg(c_j) log pi(y_j),   c_j = k_j - mean_{i != j} k_i
    k = log pi(y) - log pi_ref(y), of completions that the policy has just drawn itself

The expected gradient of the second term is that of KL(policy || reference), which pairs alone do not hold; its value
is not. Rows hold chosen, rejected, and any number of own samples of the prompt; either part may be empty. k is
compared with the other samples of the row (the paper's RLOO), and stands alone where there is one sample.
Differentiating k itself on samples would have no expected gradient at all.

Not the Hybrid-DPO that is also called HyPO (`ReferenceClippedDPO`).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, implicit_reward, link, weight
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class OnlineKLDPO:
    """DPO on given pairs, and the divergence from the reference on the policy's own samples."""

    beta: float = 0.05
    """How dear it is to leave the reference (beta), per nat."""
    kl_coef: float = 1e-4
    """Weight of the divergence on own samples (lambda), per nat; 0 is DPO."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("kl_coef", self.kl_coef)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike, and so does every sample behind the pairs."""
        mask = groups.completion_mask
        if mask.shape[1] < 3:
            raise ValueError(f"OnlineKLDPO wants (chosen, rejected, own samples), not {mask.shape[1]} completions.")
        if ref_logps is None:
            raise ValueError("OnlineKLDPO compares the policy with a reference: pass ref_logps.")
        sampled = (jnp.arange(mask.shape[1]) >= 2)[None, :, None]
        return types.PreferenceBatch(
            completion_mask=mask,
            pair_weights=weight.pair_mean(mask[:, :2]),
            ref_logps=ref_logps,
            token_weights=weight.sequence_sum(mask & sampled),
        )

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.token_weights is None:
            raise ValueError("OnlineKLDPO weighs own samples by token_weights: let credit make the batch.")
        ratios = implicit_reward.log_ratio_sum(policy.logps, pair.reference(self, batch), batch.completion_mask)
        chosen, rejected = pair.split(self.beta * ratios[:, :2])
        present = jnp.any(batch.completion_mask[:, 2:], axis=-1)
        excess = jax.lax.stop_gradient(jnp.where(present, ratios[:, 2:], jnp.nan))
        centred = advantage.leave_one_out(excess, jnp.arange(excess.shape[0]))
        alone = jnp.sum(present, axis=1, keepdims=True) == 1
        factors = jnp.where(present, jnp.where(alone, excess, centred), 0)
        divergence = jnp.sum(batch.token_weights[:, 2:] * factors[:, :, None] * policy.logps[:, 2:])
        total = jnp.sum(batch.pair_weights * link.logistic(chosen - rejected)) + self.kl_coef * divergence
        return total, pair.report(chosen, rejected) | {"kl": masked.mean(ratios[:, 2:], present, axis=1)}
