"""One prompt with four completions of lengths 3, 2, 3, 1, on which many losses were worked out in float64."""

import jax
import jax.numpy as jnp

from posttrain_jax import types

MASK = jnp.array([[[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]], bool)
REWARDS = jnp.array([[1.0, 0.0, 0.0, 1.0]])
GROUP_IDS = jnp.array([7])
OLD = jnp.array([[[-1.0, -0.5, -2.0], [-0.7, -1.2, 0], [-0.3, -0.9, -1.5], [-2.5, 0, 0]]])
LOG_RATIO = jnp.array([[[0.1, -0.2, 0.4], [0.3, -0.1, 0], [-0.5, 0.05, 0.25], [0.6, 0, 0]]])
LOGPS = OLD + LOG_RATIO
REF = OLD + jnp.array([[[0.05, 0, 0.1], [-0.1, 0.2, 0], [0, 0.1, -0.2], [0.3, 0, 0]]])
ADVANTAGES = jnp.where(MASK, jnp.array([[1.0, -1.0, -1.0, 1.0]])[:, :, None], 0)
"""REWARDS standardised with ddof 0."""

POLICY = types.TokenStats(logps=LOGPS, entropy=jnp.where(MASK, 1.0, 0.0))
ROLLOUT = types.Rollout(
    groups=types.Groups(
        prompts=jnp.zeros((1, 1), int),
        prompt_lengths=jnp.ones(1, int),
        completions=jnp.zeros(MASK.shape, int),
        completion_lengths=jnp.array([[3, 2, 3, 1]]),
        completion_mask=MASK,
        group_ids=GROUP_IDS,
    ),
    sampler=types.TokenStats(logps=OLD, entropy=jnp.where(MASK, 1.0, 0.0)),
    truncated=jnp.zeros((1, 4), bool),
)


def informed(
    recipe, rewards=REWARDS, *, rollout=ROLLOUT, policy=POLICY, ref_logps=REF, columns=None, memory=None, **told
):
    """Batch and memory of a recipe that may look at the policy (and at what is `told`), read rewards, and remember."""
    ref = types.TokenStats(logps=ref_logps, entropy=jnp.zeros_like(ref_logps))
    lookup = types.Lookup(lambda *_: policy, lambda *_: ref, jax.random.key(0), **told)
    memory = recipe.init_memory() if memory is None else memory
    return recipe.credit(rollout, rewards, {} if columns is None else columns, lookup, memory)
