"""Statistics carried from step to step: frozen trees, updated by the whole batch at once."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked, pytree


@pytree.struct
class RunningMean:
    """The mean of everything seen so far."""

    mean: Float[Array, ""]
    count: Float[Array, ""]
    """Values seen."""

    def update(self, x: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> "RunningMean":
        """With the True positions of `x` added."""
        added = jnp.sum(mask).astype(jnp.float32)
        count = self.count + added
        mean = self.mean + (masked.mean(x, mask) - self.mean) * added / jnp.maximum(count, 1)
        return RunningMean(mean=mean, count=count)


@pytree.struct
class MovingMoments:
    """Exponentially moving averages of the mean and the standard deviation of a batch."""

    mean: Float[Array, ""]
    std: Float[Array, ""]

    def update(self, x: Float[Array, "*shape"], mask: Bool[Array, "*shape"], *, decay: float) -> "MovingMoments":
        """`decay` of the old and 1 - `decay` of those of the True positions of `x` (ddof 1), if there are any."""
        share = jnp.where(jnp.any(mask), 1 - decay, 0)
        std = jnp.sqrt(masked.variance(x, mask, ddof=1))
        return MovingMoments(
            mean=self.mean + share * (masked.mean(x, mask) - self.mean), std=self.std + share * (std - self.std)
        )


def zero_mean() -> RunningMean:
    """Before anything is seen."""
    return RunningMean(mean=jnp.float32(0), count=jnp.float32(0))
