"""Rank-GRPO: lists whose ranks are credited one by one (Zhu et al. 2025, ConvRec-R1, arXiv:2510.20150).

    L = (1/N) sum_i (1/ranks) sum_k [ -min(s A, clip(s, 1 - eps_low, 1 + eps_high) A) + kl_coef (e^d - d - 1) ]
    A_ik = (r_ik - mean(r_k)) / (std(r_k) + eps) over the group, rank by rank,   s_ik = (pi / pi_old)^(1 / n_ik)
    r_ik = sum_{j >= k} rel_ij / log2(j + 1),   rel_ij = 1 where the j-th item is right

A rank is credited with what it and later ranks earn; missing ranks earn 0. Tokens behind the last rank, and the stop
token, have advantages of their own. Items are segments: `Segmented` by line ends with `rewards.item.hits`. One rank is
GSPO's ratio with GRPO's advantage, whose spread bends its gradient. The code averages over tokens, the paper ranks.
"""

import dataclasses
import functools

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import divergence, listing, ratio, segment, surrogate


@dataclasses.dataclass(frozen=True)
class RankGRPO:
    """Clipped policy gradient with one ratio and one advantage for each rank."""

    clip_low: float = 0.06
    """Lower clip range (epsilon_low)."""
    clip_high: float = 0.08
    """Upper clip range (epsilon_high)."""
    kl_coef: float = 1e-3
    """Weight of the divergence from the reference (beta); 0 needs no reference."""
    gain: listing.Gain = listing.log_decay
    """From the items' rewards to the ranks': `listing.log_decay`, or `listing.own` (exp_inf)."""
    beyond: float = -0.1
    """Advantage of tokens behind the last rank."""
    ended: float = 0.1
    """Advantage of the stop token of a complete list; its negative is that of a list too short."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages of ranks; completions whose reward is NaN do not count."""
        segments, groups, scored = segment.required(rollout, "RankGRPO"), rollout.groups, ~jnp.isnan(rewards)
        ids, count, mask = segments.ids, segments.rewards.shape[-1], groups.completion_mask & scored[:, :, None]
        gains = self.gain(jnp.nan_to_num(segments.rewards))
        ranked = jnp.broadcast_to(scored[:, :, None], gains.shape)
        places = segment.classes(segment.by_group(groups.group_ids, ranked), segment.by_place(ranked))
        scores = segment.on_tokens(segment.zscore(gains, ranked, places, eps=1e-4), ids)
        ends = functools.partial(listing.ending, beyond=self.beyond, ended=self.ended, cut=-self.ended)
        ending = ends(ids, mask, rollout.truncated, count)
        ranks = jnp.minimum(ids, count)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=jnp.where(mask, jnp.where(jnp.isnan(ending), scores, ending), 0),
            token_weights=segment.share_mean(mask, ranks, count + 1),
            ref_logps=ref_logps,
            extra={"ranks": ranks, "gains": gains},
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        ranks, bins = batch.extra["ranks"], batch.extra["gains"].shape[-1] + 1
        token = ratio.token(policy.logps, batch.old_logps)
        log_ratios = segment.on_tokens(segment.mean(token, ranks, batch.completion_mask, bins), ranks)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "entropy": policy.entropy}
        if self.needs_ref:
            if batch.ref_logps is None:
                raise ValueError(f"kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            metrics["kl"] = divergence.k3_loss(policy.logps, batch.ref_logps)
            losses += self.kl_coef * metrics["kl"]
        return jnp.sum(batch.token_weights * losses), metrics
