"""What recipes of pairs share that read KL(ref || policy) over the whole vocabulary, token by token, in nats."""

from typing import Any

from jaxtyping import Array, Float

from posttrain_jax import comparison, masked, types
from posttrain_jax.losses import generator
from posttrain_jax.recipes.preference import pair

NAME = "kl"
FROM_REFERENCE = {NAME: comparison.Comparison(generator.ForwardKL(), {"ref": 1.0})}
"""What `comparisons` gives."""


def tokens(recipe: Any, policy: types.TokenStats) -> Float[Array, "P K T"]:
    """The divergence at each token; ValueError where the statistics hold none."""
    if NAME not in policy.divergences:
        raise ValueError(
            f"{type(recipe).__name__} reads KL(ref || policy) over the vocabulary: give TokenStats"
            f" divergences={{{NAME!r}: ...}}, as the loops do."
        )
    return policy.divergences[NAME]


def sums(recipe: Any, policy: types.TokenStats, batch: types.PreferenceBatch) -> pair.Pair:
    """Of chosen and rejected completions, over their counted tokens."""
    return pair.split(masked.total(tokens(recipe, policy), batch.completion_mask, axis=-1))


def report(recipe: Any, policy: types.TokenStats, batch: types.PreferenceBatch) -> types.Metrics:
    """Rewards beta (log-ratio + divergence), and both divergences."""
    ratios, kls = pair.log_ratio_sums(recipe, policy, batch), sums(recipe, policy, batch)
    chosen, rejected = (recipe.beta * (ratio + kl) for ratio, kl in zip(ratios, kls, strict=True))
    return pair.report(chosen, rejected) | {"chosen_kl": kls[0], "rejected_kl": kls[1]}
