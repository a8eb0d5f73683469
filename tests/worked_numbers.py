"""One prompt with four completions of lengths 3, 2, 3, 1, on which many losses were worked out in float64."""

import jax.numpy as jnp

MASK = jnp.array([[[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]], bool)
REWARDS = jnp.array([[1.0, 0.0, 0.0, 1.0]])
GROUP_IDS = jnp.array([7])
OLD = jnp.array([[[-1.0, -0.5, -2.0], [-0.7, -1.2, 0], [-0.3, -0.9, -1.5], [-2.5, 0, 0]]])
LOG_RATIO = jnp.array([[[0.1, -0.2, 0.4], [0.3, -0.1, 0], [-0.5, 0.05, 0.25], [0.6, 0, 0]]])
LOGPS = OLD + LOG_RATIO
REF = OLD + jnp.array([[[0.05, 0, 0.1], [-0.1, 0.2, 0], [0, 0.1, -0.2], [0.3, 0, 0]]])
ADVANTAGES = jnp.where(MASK, jnp.array([[1.0, -1.0, -1.0, 1.0]])[:, :, None], 0)
"""REWARDS standardised with ddof 0."""
