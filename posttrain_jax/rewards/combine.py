"""Several rewards as one weighted sum, each still reported in its own column."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from posttrain_jax.rewards import sample as samples


@dataclasses.dataclass(frozen=True)
class WeightedRewards:
    """Named rewards and their weights: `WeightedRewards({"correct": (1.0, MathAnswer()), "form": (0.2, Think())})`.

    The sum is of rewards as they are. The `GDPO` recipe brings each to mean 0 and deviation 1 within its group first.
    """

    terms: Mapping[str, tuple[float, samples.AnyReward]]
    """Rewards of one sample or of a whole group, by name."""

    def __post_init__(self):
        if not self.terms:
            raise ValueError("WeightedRewards needs at least one reward.")
        for name, (weight, reward) in self.terms.items():
            if not math.isfinite(weight):
                raise ValueError(f"the weight of reward {name!r} is {weight}; it must be finite.")
            if callable(reward) == isinstance(reward, samples.GroupReward):
                raise ValueError(
                    f"reward {name!r} must be a callable of one sample or have `score_group`, and not both: {reward!r}"
                )

        if sum(isinstance(reward, samples.Comparing) for _, reward in self.terms.values()) > 1:
            raise ValueError("several rewards compare completions, and a run reads the comparisons of one: keep one.")

    @property
    def comparing(self) -> int | None:
        """The column of the reward that compares completions two by two, if there is one."""
        return next((place for place, one in enumerate(self.rewards) if isinstance(one, samples.Comparing)), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(self.terms)

    @property
    def weights(self) -> Float[np.ndarray, "K"]:
        """The columns' weights, in order."""
        return np.asarray([weight for weight, _ in self.terms.values()], np.float32)

    @property
    def rewards(self) -> tuple[samples.AnyReward, ...]:
        """The columns' rewards, in order."""
        return tuple(reward for _, reward in self.terms.values())

    def total(self, columns: Float[np.ndarray, "*n K"]) -> Float[np.ndarray, "*n"]:
        """sum_k w_k r_k over the columns that are not NaN; NaN where all are. The other weights are not rescaled."""
        empty = np.all(np.isnan(columns), axis=-1)
        return np.where(empty, np.nan, np.nansum(columns * self.weights, axis=-1)).astype(np.float32)
