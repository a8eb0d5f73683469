"""BranchGRPO: advantages over a tree of completions (Li et al. 2025, arXiv:2509.06040).

    L = (1 / tokens of all edges) sum over edges sum_t -min(r A, clip(r, 1 - eps, 1 + eps) A)
    A of an edge = clip(z, -limit, limit), z standardising the value of the node it leads to among those of its depth
    value of a node = mean reward of the leaves below it

Where completions branch, their beginnings are rewarded by the mean of what became of them: a dense credit without a
critic. An edge that leads to several leaves is counted once. Branching at the root alone it is GRPO with token means.
The nodes of a depth are few, and dividing by their spread bends the expected gradient, as it does in GRPO.

For your own loop: it wants to know the tree. Written for flow models; here edges are runs of tokens (`losses.tree`
says how). Differs from the paper: the ratio is that of a token, not of a denoising step.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import types
from posttrain_jax.losses import ratio, surrogate, tree


@dataclasses.dataclass(frozen=True)
class BranchGRPO:
    """Clipped policy gradient whose advantages are of the branches that tokens lie on."""

    clip: float = 1e-3
    """Clip range (epsilon)."""
    limit: float = 5.0
    """Advantages are held within this."""
    eps: float = 1e-8
    """Added to the standard deviation of a depth."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip, high=self.clip)
        if not self.limit > 0:
            raise ValueError(f"limit={self.limit} leaves no advantage: choose it above 0.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        branches: Int[Array, "P G D"],
        edges: Int[Array, "P G T"],
        kept: Bool[Array, "P G T"] | None = None,
    ) -> types.PolicyBatch:
        """Advantages of branches; NaN rewards do not count, nor do tokens that pruning did not keep."""
        groups, scored = rollout.groups, ~jnp.isnan(rewards)
        counted = groups.completion_mask & scored[:, :, None]
        values = tree.fuse(rewards, branches, groups.group_ids)
        scores = tree.depth_zscore(values, branches, scored, groups.group_ids, eps=self.eps)
        copies = tree.on_tokens(tree.leaves(branches, scored, groups.group_ids), edges)
        learned = counted if kept is None else counted & kept
        shares = jnp.where(learned, 1 / jnp.maximum(copies, 1), 0)
        advantages = jnp.clip(tree.on_tokens(scores, edges), -self.limit, self.limit)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=jnp.where(counted, advantages, 0),
            token_weights=shares / jnp.maximum(jnp.sum(shares), 1),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip, high=self.clip)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip, high=self.clip)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
