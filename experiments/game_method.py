"""The game, and what `two_players` trains on it: a recipe, who plays, and what moves when."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from posttrain_jax.train import extragradient, reference

P = jnp.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
REF = jax.nn.log_softmax(jnp.array([0.5, 0.0, -0.5]))


@dataclasses.dataclass(frozen=True)
class Method:
    """A recipe, who plays, and what moves when; `None` is never."""

    recipe: Any
    rate: float
    """Of plain gradient descent on the logits."""
    opponent: tuple[tuple[str, float], ...] = ()
    """Coefficients by role; empty for self-play."""
    versions: tuple[tuple[str, reference.Moving], ...] = ()
    """How other roles follow the policy; `ref` among them is a moving reference."""
    uniform: bool = False
    """Whether own responses are drawn evenly."""
    looks_ahead: bool = False
    """Whether every step is two (EGPO)."""
    updates: int = 1
    """On the same rollout, its log-probabilities being the old ones."""

    def optimizer(self) -> optax.GradientTransformation:
        """Gradient descent, of two steps if it looks ahead."""
        plain = optax.sgd(self.rate)
        return extragradient.make_extragradient(plain) if self.looks_ahead else plain
