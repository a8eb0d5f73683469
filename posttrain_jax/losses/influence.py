"""How much learning one token moves the likelihood of others, to first order and through the output layer alone.

With logits W h, the gradient of log pi(y_k) with respect to W is e_k h_k^T, e_k = onehot(y_k) - pi(.|prefix). The
influence of token k' on a sum of log-likelihoods is the inner product of the two gradients. Nothing here has a
gradient itself. `asked` gives them in the online loop; the functions of hidden states and probabilities, which are not
in `types.TokenStats`, are for your own.

Source: Deng et al. 2025 (NTHR, arXiv:2505.18830; THR, arXiv:2510.03669).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import masked, types
from posttrain_jax.losses import group


def prediction_errors(
    log_probs: Float[Array, "P G T W"], ids: Int[Array, "P W"], completions: Int[Array, "P G T"]
) -> Float[Array, "P G T W"]:
    """onehot(y) - pi over the ids kept, not renormalised.

    Args:
        log_probs: of the kept ids under the policy that sampled, in nats.
        ids: the kept part of the vocabulary, the same on the rows of one group: the whole, or the ids that occur in
            the group. Those that are negative only fill up.
        completions: token ids.
    """
    kept = jax.lax.stop_gradient(log_probs)
    ids = ids[:, None, None, :]
    return jnp.where(ids >= 0, (ids == completions[..., None]).astype(kept.dtype) - jnp.exp(kept), 0)


def asked(lookup: types.Lookup, rollout: types.Rollout, sources: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """`of_tokens` over the whole vocabulary, of the policy that sampled.

    Raises:
        ValueError: nothing is told of influences, or tokens were drawn from a part of the vocabulary.
    """
    if lookup.influences is None:
        raise ValueError("influences of tokens are needed, and the lookup gives none: set its `influences`.")
    if rollout.kept_ids is not None:
        raise ValueError("influences are of whole distributions, and sampling was truncated: leave out top_k.")
    return lookup.influences(rollout.groups, jax.lax.stop_gradient(sources))


def of_tokens(
    hidden: Float[Array, "P G T D"],
    errors: Float[Array, "P G T W"],
    sources: Float[Array, "P G T"],
    group_ids: Int[Array, "P"],
) -> Float[Array, "P G T"]:
    """Influence of each token on the group's sum_ik w_ik log pi(y_ik): e^T M h with M = sum_ik w_ik e_ik h_ik^T.

    Args:
        hidden: last hidden state that predicts the token.
        errors: `prediction_errors`.
        sources: weights w of the log-likelihoods: 1 on tokens of correct completions, or 1 / n_i (THR), else 0.
        group_ids: equal on the rows of one group.
    """
    hidden, errors = jax.lax.stop_gradient((hidden, errors))
    first = group.first_row(group_ids)
    moved = jnp.einsum("pgt,pgtw,pgtd->pwd", sources, errors, hidden, precision="highest")
    moved = jax.ops.segment_sum(moved, first, num_segments=hidden.shape[0])[first]
    return jnp.einsum("pgtw,pwd,pgtd->pgt", errors, moved, hidden, precision="highest")


def of_own_tokens(
    hidden: Float[Array, "P G T D"], errors: Float[Array, "P G T W"], sources: Float[Array, "P G T"]
) -> Float[Array, "P G T"]:
    """The part of `of_tokens` that comes from the completion itself: take it off to ask about the others alone."""
    hidden, errors = jax.lax.stop_gradient((hidden, errors))
    grams = [jnp.einsum("pgta,pgsa->pgts", x, x, precision="highest") for x in (errors, hidden)]
    return jnp.einsum("pgts,pgs->pgt", grams[0] * grams[1], sources, precision="highest")


def least_of_correct(
    influences: Float[Array, "P G T"],
    correct: Bool[Array, "P G"],
    mask: Bool[Array, "P G T"],
    group_ids: Int[Array, "P"],
) -> Float[Array, "P"]:
    """The smallest mean influence of a correct completion's tokens; 0 in groups without one."""
    correct &= jnp.any(mask, axis=-1)
    means = masked.mean(influences, mask, axis=-1)
    least = group.minimum(jnp.where(correct, means, jnp.inf), group_ids)
    return jnp.where(jnp.isfinite(least), least, 0)
