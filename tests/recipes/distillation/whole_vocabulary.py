"""What a recipe's `comparisons` ask for, of distributions that are given whole."""

import jax
import jax.numpy as jnp

from posttrain_jax import types
from posttrain_jax.losses import divergence

TEACHER, STUDENT = (0.6, 0.3, 0.1), (0.2, 0.3, 0.5)
"""The distributions of the golden numbers."""


def groups(mask):
    """Rows whose tokens are all 0."""
    return types.Groups(
        prompts=jnp.zeros((mask.shape[0], 1), int),
        prompt_lengths=jnp.ones(mask.shape[0], int),
        completions=jnp.zeros(mask.shape, int),
        completion_lengths=mask.sum(axis=-1),
        completion_mask=mask,
        group_ids=jnp.arange(mask.shape[0]),
    )


def rollout(mask, logps=None):
    """Such rows as a rollout."""
    stats = types.TokenStats(jnp.zeros(mask.shape) if logps is None else logps, jnp.zeros(mask.shape))
    return types.Rollout(groups(mask), stats, truncated=jnp.zeros(mask.shape[:2], bool))


def stats(recipe, batch, logits, fixed):
    """The statistics of a student with `logits` [P, G, T, V], compared with models of the logits `fixed`, by role."""

    def one(compared):
        weights = {role: jnp.broadcast_to(x, batch.completion_mask.shape) for role, x in compared.logits.items()}
        other = sum(weight[..., None] * fixed[role] for role, weight in weights.items())
        p, q = (jax.nn.log_softmax(x / (compared.temperature or 1)) for x in (logits, other))
        return jnp.where(batch.completion_mask, divergence.exact(compared.divergence, p, q), 0)

    log_probs = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
    divergences = {name: one(compared) for name, compared in recipe.comparisons(batch).items()}
    logps = jnp.where(batch.completion_mask, log_probs[..., 0], 0)
    return types.TokenStats(logps, jnp.where(batch.completion_mask, entropy, 0), divergences=divergences)


def golden(recipe):
    """The loss of one token at the distributions of the golden numbers, and its gradient by the student's logits."""
    mask = jnp.ones((1, 1, 1), bool)
    batch = recipe.credit(groups(mask))
    student, teacher = (jnp.log(jnp.array(x))[None, None, None] for x in (STUDENT, TEACHER))

    def loss(student):
        return recipe.loss(stats(recipe, batch, student, {"teacher": teacher}), batch)[0]

    value, gradient = jax.value_and_grad(loss)(student)
    return value, gradient[0, 0, 0]
