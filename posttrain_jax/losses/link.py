"""Links: losses of a margin between two rewards (chosen less rejected, times beta), one per pair."""

import jax
from jaxtyping import Array, Float


def logistic(margins: Float[Array, "*shape"], *, label_noise: float = 0.0) -> Float[Array, "*shape"]:
    """-(1 - e) log sigmoid(m) - e log sigmoid(-m): the negative log-likelihood of Bradley and Terry.

    Args:
        margins: in nats.
        label_noise: e, the probability that a label is the wrong way round; the best margin is then log((1 - e) / e).

    Source: Rafailov et al. 2023 (DPO, arXiv:2305.18290), eq. 7; with noise: Mitchell 2023 (cDPO).
    """
    return -(1 - label_noise) * jax.nn.log_sigmoid(margins) - label_noise * jax.nn.log_sigmoid(-margins)


def squared(margins: Float[Array, "*shape"], *, target: float) -> Float[Array, "*shape"]:
    """(m - target)^2, not halved.

    Source: Azar et al. 2023 (IPO, arXiv:2310.12036), eq. 17.
    """
    return (margins - target) ** 2


def hinge(margins: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(0, 1 - m).

    Source: Liu et al. 2023 (RSO, arXiv:2309.06657); Zhao et al. 2023 (SLiC, arXiv:2305.10425).
    """
    return jax.nn.relu(1 - margins)
