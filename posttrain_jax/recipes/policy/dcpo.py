"""Dynamic clipping policy optimization (DCPO 2025, arXiv:2509.02333).

    L = -sum_i (1/n_i) sum_t min(r A, clip(r, lo(q), hi(q)) A), and ratios beyond cap stop pushing where A < 0
    lo(q) = 1/2 + sqrt(max(1 - 4 eps_low / q, 0)) / 2,   hi(q) = min(1/2 + sqrt(1 + 4 eps_high / q) / 2, cap),   q = old
    A_i from this visit of the prompt and from all visits (`visits.smooth`)

Changes from GRPO: unlikely tokens may move farther than likely ones; a prompt whose completions are all equal this time
still teaches, by comparison with earlier times; completions are summed and not averaged, so the learning rate depends
on how many there are. What a prompt's rewards were is remembered by its id. The first visit has GRPO's advantages
(ddof 1, no eps). Bounds and memory bend the expected gradient.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, trust, visits, weight


@dataclasses.dataclass(frozen=True)
class DCPO:
    """Policy gradient clipped by probability, with advantages over all visits of a prompt."""

    prompts: int
    """How many the data have: their ids run from 0 to this less 1."""
    clip_low: float = 0.16
    """How far a probability may fall times its ratio's distance (epsilon_low)."""
    clip_high: float = 0.2
    """How far it may rise, likewise (epsilon_high)."""
    cap: float = 10.0
    """The largest ratio (r_max)."""

    def __post_init__(self):
        if not (self.prompts > 0 and self.clip_low > 0 and self.clip_high > 0 and self.cap > 1):
            raise ValueError(f"prompts={self.prompts} and clips must be above 0, and cap={self.cap} above 1.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> visits.Moments:
        """No prompt was seen."""
        return visits.none(self.prompts)

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        columns: Mapping[str, Array],
        lookup: types.Lookup,
        memory: visits.Moments,
    ) -> tuple[types.PolicyBatch, visits.Moments]:
        """Advantages over all visits, this one being remembered; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        scores, memory = visits.smooth(rewards, groups.group_ids, memory)
        batch = types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(scores, counted),
            token_weights=weight.sequence_total(counted),
        )
        return batch, memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        low, high = trust.around(policy.logps - log_ratios, low=self.clip_low, high=self.clip_high, cap=self.cap)
        losses = surrogate.dual_clipped(log_ratios, batch.advantages, low=low, high=high, cap=self.cap)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=low, high=high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
