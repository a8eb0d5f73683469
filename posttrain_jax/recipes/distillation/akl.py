"""Adaptive KL: distillation by forward and reverse KL, weighed anew at each token (Wu et al. 2024, arXiv:2404.02657).

    L = (1 / sum_i n_i) sum_i sum_t [ w KL(teacher || pi) + (1 - w) KL(pi || teacher) ]
    w = g_head / (g_head + g_tail),   g = sum of |teacher - pi| over the head or the tail

The head are the teacher's likeliest entries of at most half of its probability. It is `GKD` under another divergence
(`losses.adaptive`, which says how the head is found without sorting), for given completions, or in `OnPolicy` for the
student's own; of a stored teacher it is `TopK(tail.Bucketed(adaptive.AKL()))`.
"""

from posttrain_jax.losses import adaptive, weight
from posttrain_jax.recipes.distillation import gkd


def akl(mass: float = 0.5) -> gkd.GKD:
    """The equation above.

    Args:
        mass: of the teacher's probability that the head has at most (mu), between 0 and 1.
    """
    return gkd.GKD(divergence=adaptive.AKL(mass), average=weight.token_mean)
