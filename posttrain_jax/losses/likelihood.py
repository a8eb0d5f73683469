"""Losses of given tokens under the policy alone."""

from jaxtyping import Array, Float


def negative_log_likelihood(logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """-log pi(y_t), in nats per token: weighted by `weight.token_mean`, the cross-entropy of the batch."""
    return -logps
