"""BranchGRPO: advantages over a tree of completions (Li et al. 2025, arXiv:2509.06040).

    L = (1 / tokens of all edges) sum over edges sum_t -min(r A, clip(r, 1 - eps, 1 + eps) A)
    A of an edge = clip(z, -limit, limit), z standardising the value of the node it leads to among those of its depth
    value of a node = mean reward of the leaves below it

Beginnings are rewarded by the mean of what became of them: a dense credit without a critic. An edge that leads to
several leaves is counted once. Branching at the root alone it is GRPO with token means. The nodes of a depth are few,
and dividing by their spread bends the expected gradient, as it does in GRPO. `run_online` draws the tree.
Differs from the paper, written for flow models: edges are runs of tokens (`losses.tree`), the ratio is that of a token;
fusion by likelihood (`tree.fuse_by_likelihood`) and the sliding window of pruned depths are for your own recipe.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import arrangement, types
from posttrain_jax.losses import ratio, surrogate, tree


@dataclasses.dataclass(frozen=True)
class BranchGRPO:
    """Clipped policy gradient whose advantages are of the branches that tokens lie on."""

    splits: tuple[int, ...]
    """Tokens before which every branch divides, the first of a completion being 0."""
    ways: int = 2
    """Branches that each divides into: ways^(number of splits) completions."""
    clip_low: float = 1e-3
    """Lower clip range (epsilon)."""
    clip_high: float = 1e-3
    """Upper clip range (epsilon)."""
    limit: float = 5.0
    """Advantages are held within this."""
    eps: float = 1e-8
    """Added to the standard deviation of a depth."""

    prune: tree.Prune = tree.Everything()
    """Which tokens are learned from."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)
        if not (self.limit > 0 and self.splits):
            raise ValueError(f"limit={self.limit} must be above 0, and splits={self.splits} name at least one token.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    @property
    def arrangement(self) -> arrangement.Arrangement:
        """The tree."""
        return arrangement.Arrangement(splits=self.splits, ways=self.ways)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages of branches; NaN rewards do not count, nor do tokens that are pruned."""
        branches, edges = rollout.branches, rollout.edges
        if branches is None or edges is None:
            raise ValueError("BranchGRPO credits a tree of completions, and the rollout has none: give `branches`.")
        ids, scored = rollout.groups.group_ids, ~jnp.isnan(rewards)
        counted = rollout.groups.completion_mask & scored[:, :, None]
        scores = tree.depth_zscore(tree.fuse(rewards, branches, ids), branches, scored, ids, eps=self.eps)
        advantages = jnp.where(counted, jnp.clip(tree.on_tokens(scores, edges), -self.limit, self.limit), 0)
        copies = jnp.maximum(tree.on_tokens(tree.leaves(branches, scored, ids), edges), 1)
        shares = jnp.where(counted & self.prune(rewards, branches, edges, ids), 1 / copies, 0)
        weights = shares / jnp.maximum(jnp.sum(shares), 1)
        return types.PolicyBatch(rollout.groups.completion_mask, advantages, weights)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
