"""SFT as learning from an implicit reward (Wang et al. 2025, Implicit Reward as the Bridge, arXiv:2507.00018).

    L = -mean_i sum_t phi(beta log pi(y_it)/pi_ref(y_it))        phi: `losses/imitation.py`
    L = -mean_i phi(beta log pi(y_i)/pi_ref(y_i))                with `per_token=False`

Demonstrations define max_r min_pi E_demo[phi(r)] - E_pi[r] + beta KL(pi || ref), whose inner optimum has the reward
beta log pi/ref + beta log Z. With phi(r) = r the KL cancels, and what is left is SFT: nothing restrains its steps.
Two remedies follow. The first is the better one by the paper's own numbers: a learning rate 4 to 10 times smaller
than usual for the SFT before DPO (5e-6 instead of 2e-5; the paper's values are not known to us), with `SFT` as it is.
The second is a curved phi, as here; log Z is taken for 0. SFT and DPO at once did not work in the paper's appendix D.

Reconstructed: which phi were trained, over tokens or completions, and beta. `implicit_reward.soft_values` and
`soft_rewards` read the values and rewards out of a policy's logits.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import imitation, weight
from posttrain_jax.recipes.preference import setting


@dataclasses.dataclass(frozen=True)
class ImplicitRewardSFT:
    """Demonstrations whose implicit reward is raised, the less the higher it is."""

    phi: imitation.Utility = imitation.ChiSquared()
    """Utility of a reward (phi); `imitation.TotalVariation()` is SFT."""
    beta: float = 1.0
    """Reward of a nat above the reference (beta); 1 is our choice. With chi^2 pushing ends 2 / beta nats above it."""
    per_token: bool = True
    """Every token has a reward of its own, instead of every completion."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P G T"] | None = None) -> types.LikelihoodBatch:
        """Every completion counts alike."""
        mask = groups.completion_mask
        weights = weight.sequence_sum(mask) if self.per_token else weight.sequence_mean(mask)
        return types.LikelihoodBatch(completion_mask=mask, token_weights=weights, ref_logps=ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equations above."""
        if batch.ref_logps is None:
            raise ValueError("ImplicitRewardSFT compares the policy with a reference: pass ref_logps to credit.")
        rewards = self.beta * (policy.logps - batch.ref_logps)
        sums = masked.total(rewards, batch.completion_mask, axis=-1)
        utilities = self.phi(rewards if self.per_token else jnp.broadcast_to(sums[:, :, None], rewards.shape))
        total = jnp.sum(batch.token_weights * jnp.where(batch.completion_mask, utilities, 0))
        return -total, {"implicit_reward": sums, "nll": -policy.logps}
