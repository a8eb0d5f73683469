"""A multiple of a divergence: other scales of the same thing, as papers and programs have them.

GKD's Jensen-Shannon over beta (1 - beta) is continuous from the forward to the reverse KL; distillation at a
temperature is often multiplied by its square, so that its gradient does not shrink (Hinton et al. 2015,
arXiv:1503.02531); the Jensen-Shannon divergence of f-DPO and of the GAN literature is twice ours.
"""

import dataclasses

from jaxtyping import Array, Float

from posttrain_jax import comparison
from posttrain_jax.losses import generator


@dataclasses.dataclass(frozen=True)
class Multiple:
    """c D(p || q): a divergence, no generator."""

    divergence: comparison.Divergence
    factor: float
    """c, above 0."""

    def __post_init__(self):
        if not self.factor > 0:
            raise ValueError(f"factor={self.factor} leaves nothing to be made small: choose it above 0.")

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """c times its terms."""
        return self.factor * self.divergence.terms(log_p, log_q)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """c times its slopes."""
        return self.factor * self.divergence.slopes(log_p, log_q)


def generalized_js(beta: float) -> Multiple:
    """JSD(beta) / (beta (1 - beta)) of GKD, p the student: `ForwardKL` as beta -> 0, `ReverseKL` as beta -> 1.

    Args:
        beta: of the teacher, between 0 and 1. The learning rate of one beta then serves another.

    Source: Agarwal et al. 2023 (GKD, arXiv:2306.13649), whose JSD(beta) vanishes at both ends.
    """
    generator.check_share("beta", beta)
    return Multiple(generator.GeneralizedJS(1 - beta), 1 / (beta * (1 - beta)))
