"""Reward shaping: terms added to rewards before they become advantages."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def soft_overlong(lengths: Int[Array, "*shape"], *, max_length: int, buffer: int) -> Float[Array, "*shape"]:
    """Penalty for length: 0 up to max_length - buffer tokens, then falling linearly to -1 at max_length and beyond.

    Args:
        lengths: of the completions, in tokens.
        max_length: L_max, in tokens.
        buffer: L_cache, the tokens before `max_length` over which the penalty sets in.

    Source: Yu et al. 2025 (DAPO, arXiv:2503.14476), eq. 13.
    """
    over = (lengths - (max_length - buffer)).astype(jnp.float32)
    return -jnp.clip(over / buffer, 0, 1)


@dataclasses.dataclass(frozen=True)
class SoftOverlong:
    """`soft_overlong` with its numbers, for a recipe to hold."""

    max_length: int
    """Tokens at which the penalty is whole (L_max)."""
    buffer: int
    """Tokens before that over which it sets in (L_cache)."""

    def __post_init__(self):
        if not 0 < self.buffer <= self.max_length:
            raise ValueError(f"buffer={self.buffer} must lie between 1 and max_length={self.max_length} tokens.")

    def __call__(self, lengths: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Penalties in [-1, 0]."""
        return soft_overlong(lengths, max_length=self.max_length, buffer=self.buffer)
