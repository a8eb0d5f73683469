"""Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290, eq. 7); noisy labels: cDPO (Mitchell 2023).

    L = -log sigmoid(m),   m = beta [log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)]

Log-probabilities are sums over the completion; the loss is the mean over pairs.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, link, weight


@dataclasses.dataclass(frozen=True)
class DPO:
    """Logistic loss of the margin between the implicit rewards of a chosen and a rejected completion."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat. The paper uses 0.1, and 0.5 for summaries."""
    label_noise: float = 0.0
    """Probability that a label is the wrong way round (epsilon of cDPO)."""

    def __post_init__(self):
        if not self.beta > 0:
            raise ValueError(f"beta={self.beta} gives the pairs no say or the wrong one: choose it above 0.")
        if not 0 <= self.label_noise < 0.5:
            raise ValueError(f"label_noise={self.label_noise} leaves nothing to learn: choose it in [0, 0.5).")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        if ref_logps is None:
            raise ValueError("DPO compares the policy with a reference: pass ref_logps.")
        if groups.completions.shape[1] != 2:
            raise ValueError(
                f"DPO wants (chosen, rejected) in every row, not {groups.completions.shape[1]} completions."
            )
        mask = groups.completion_mask
        return types.PreferenceBatch(completion_mask=mask, pair_weights=weight.pair_mean(mask), ref_logps=ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.ref_logps is None:
            raise ValueError("DPO compares the policy with a reference: give the batch ref_logps.")
        rewards = self.beta * implicit_reward.log_ratio_sum(policy.logps, batch.ref_logps, batch.completion_mask)
        chosen, rejected = rewards[:, 0], rewards[:, 1]
        losses = link.logistic(chosen - rejected, label_noise=self.label_noise)
        return jnp.sum(batch.pair_weights * losses), {
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "margin": chosen - rejected,
            "accuracy": (chosen > rejected).astype(jnp.float32),
        }
