"""A language model as judge, trained on its verdict (generative reward models: Mahan et al. 2024, arXiv:2410.12832).

    L = -log sigmoid(log pi(right verdict | x) - log pi(wrong verdict | x))

The prompt shows both answers and asks for a verdict; the row's completions are the right one and the wrong one
(`data.judgement.verdicts`). Of verdicts of one token, the difference is that of their logits: cross-entropy of a
softmax over the two. The loss is the mean over pairs. For a `LanguageModel`: there is no other head.

Differs from the paper: no reasoning before the verdict, which would be sampled and rewarded (any recipe of run_online).
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair


@dataclasses.dataclass(frozen=True)
class GenerativePreference:
    """Cross-entropy between two verdicts."""

    label_noise: float = 0.0
    """Probability that a label is the wrong way round."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty verdict does not count."""
        return pair.credit(self, groups, None)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        right, wrong = pair.logp_sums(policy.logps, batch)
        losses = link.logistic(right - wrong, label_noise=self.label_noise)
        return jnp.sum(batch.pair_weights * losses), pair.report(right, wrong)
