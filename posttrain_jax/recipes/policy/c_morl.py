"""C-MORL: extending a Pareto front, one objective at a time (Liu et al. 2024, arXiv:2410.02236, stage 2).

    max_pi J_i   subject to   J_j >= J_j(start) - (1 - b) |J_j(start)|   for j other than i, by a logarithmic barrier

Stage 1 trains policies on fixed weights of the objectives (`WeightedRewards` and any recipe). `losses.front` says which
of them are unbeaten, and which of these lie loneliest; from there `extend` gives the recipe for each objective.

Differs from the authors' code: the objective itself is not among the limits (an index there takes the wrong axis), a
negative J is loosened and not tightened, and beyond the floor the barrier goes on as its tangent.
"""

from collections.abc import Mapping

from posttrain_jax import types
from posttrain_jax.losses import limit, multiplier
from posttrain_jax.recipes.policy import constrained


def extend(
    recipe: types.OnlineRecipe,
    objective: str,
    starts: Mapping[str, float],
    *,
    kept: float = 0.9,
    sharpness: float = 20.0,
) -> constrained.Constrained:
    """The recipe that makes more of one objective of a policy and keeps most of the others.

    Args:
        recipe: what learns from rewards.
        objective: the name of the reward to raise (i).
        starts: the policy's mean of every objective (J), by name.
        kept: the share of the others that must stay (b).
        sharpness: of the barrier (t).

    Raises:
        ValueError: the objective has no start.
    """
    if objective not in starts:
        raise ValueError(f"the objective {objective} is not among the starts {', '.join(starts)}: measure it as well.")
    limits = tuple(limit.AtLeast(j, x - (1 - kept) * abs(x)) for j, x in starts.items() if j != objective)
    return constrained.Constrained(limits, multiplier.Barrier(sharpness), recipe, objective)
