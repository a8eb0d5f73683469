"""Policy-gradient losses of pairs of completions: which of two to make likelier, by how much they differ in return.

d = R_1 - R_2 is the difference of returns, l = log pi(y) - log pi_old(y) of whole completions, rho = exp(l). Where the
policy has not moved (l = 0) all of them have the same gradient, -d/2 of the first's log-probability and d/2 of the
second's, whose mean over all pairs of a group is RLOO's. Adding a number to both returns changes nothing.

Source: Wu et al. 2023 (P3O, arXiv:2310.00212); the clipped forms are reconstructed from the authors' text.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import ratio

Pairs = Float[Array, "P M"]
Surrogate = Callable[[Pairs, Pairs, Pairs], Pairs]
"""From d, l_1 and l_2 to a loss of each pair."""


def unclipped(differences: Pairs, first: Pairs, second: Pairs) -> Pairs:
    """-(1/2) sg(rho_1 rho_2) d (l_1 - l_2): the pairwise policy gradient (PPG), corrected for the sampler."""
    weights = jax.lax.stop_gradient(ratio.exp(first + second))
    return -0.5 * weights * differences * (first - second)


@dataclasses.dataclass(frozen=True)
class Separate:
    """Each of the two ratios clipped by itself (V1).

    -(1/2) [sg(rho_2) min(rho_1 d, clip(rho_1) d) + sg(rho_1) min(-rho_2 d, -clip(rho_2) d)],   clip to [1 - e, 1 + e]

    Without clipping it is `unclipped`. It goes on pushing one of the two after the other is clipped.
    """

    clip: float = 0.2
    """The range of a ratio (epsilon)."""

    def __post_init__(self) -> None:
        check_clip("clip", self.clip)

    def __call__(self, differences: Pairs, first: Pairs, second: Pairs) -> Pairs:
        """See `Surrogate`."""
        one, other = ratio.exp(first), ratio.exp(second)
        held = [jnp.clip(x, 1 - self.clip, 1 + self.clip) for x in (one, other)]
        up = jnp.minimum(one * differences, held[0] * differences)
        down = jnp.minimum(-other * differences, -held[1] * differences)
        stop = jax.lax.stop_gradient
        return -0.5 * (stop(other) * up + stop(one) * down)


@dataclasses.dataclass(frozen=True)
class Joint:
    """The difference of log-ratios clipped (V2): -(1/2) w min(d x, d clip(x, -e, e)), x = l_1 - l_2.

    w = sg(rho_1 rho_2), clipped likewise to [1 - clip_is, 1 + clip_is] if that is given. Both completions stop moving
    together. The paper's Delta is x plus a constant, which has no gradient.
    """

    clip: float = 0.2
    """The range of x (epsilon), in nats."""
    clip_is: float | None = None
    """The range of the weight, which the authors' text clips too; None leaves it alone."""

    def __post_init__(self) -> None:
        check_clip("clip", self.clip)
        if self.clip_is is not None:
            check_clip("clip_is", self.clip_is)

    def __call__(self, differences: Pairs, first: Pairs, second: Pairs) -> Pairs:
        """See `Surrogate`."""
        weights, moved = ratio.exp(first + second), first - second
        if self.clip_is is not None:
            weights = jnp.clip(weights, 1 - self.clip_is, 1 + self.clip_is)
        held = jnp.clip(moved, -self.clip, self.clip)
        return -0.5 * jax.lax.stop_gradient(weights) * jnp.minimum(differences * moved, differences * held)


def check_clip(name: str, value: float) -> None:
    """A range is above 0."""
    if not value > 0:
        raise ValueError(f"{name}={value} lets nothing move: choose it above 0.")
