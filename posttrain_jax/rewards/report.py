"""What scoring returns: the rewards, and what went wrong on the way."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from posttrain_jax.rewards import combine, worker


@dataclasses.dataclass(frozen=True)
class ScoreReport:
    """Reward calls that gave no score. A killed or crashed worker counts once for the sample or group it had."""

    samples: int
    timeouts: int
    errors: int
    """Calls that raised."""
    crashes: int
    """Workers that died (killed for memory, segmentation fault, `sys.exit`)."""
    invalid: int
    """Calls that returned something other than a finite number or NaN."""
    first_error: str | None
    """The first failure in the samples' order, with the reward's name."""

    @property
    def failures(self) -> int:
        """All of them."""
        return self.timeouts + self.errors + self.crashes + self.invalid


@dataclasses.dataclass(frozen=True)
class Scores:
    """Rewards of P rows of G samples."""

    rewards: Float[np.ndarray, "P G"]
    """The weighted sum. NaN where a reward failed or where none applied: credit leaves such samples out."""
    columns: Float[np.ndarray, "P G K"]
    """Each reward by itself, unweighted; NaN where it failed or did not apply."""
    names: tuple[str, ...]
    """Of the K columns."""
    report: ScoreReport


def assemble(
    outcomes: Sequence[Sequence[worker.Outcome]], shape: tuple[int, int], rewards: combine.WeightedRewards
) -> Scores:
    """Arrays and counts of the outcomes, given for P * G samples in order."""
    failed = np.asarray([any(isinstance(value, worker.Failure) for value in row) for row in outcomes], bool)
    numbers = [[np.nan if isinstance(value, worker.Failure) else value for value in row] for row in outcomes]
    columns = np.asarray(numbers, np.float32).reshape(*shape, len(rewards.names))
    # A sum over the rewards that survived would pass for a bad score: the sample as a whole has none.
    totals = np.where(failed.reshape(shape), np.float32(np.nan), rewards.total(columns))
    return Scores(totals, columns, rewards.names, _count(outcomes, rewards.names))


def _count(outcomes: Sequence[Sequence[worker.Outcome]], names: tuple[str, ...]) -> ScoreReport:
    counts = {"timeouts": 0, "errors": 0, "crashes": 0, "invalid": 0}
    seen, first = set(), None
    for row in outcomes:
        failures = [(name, value) for name, value in zip(names, row, strict=True) if isinstance(value, worker.Failure)]
        for name, failure in failures:
            counts[failure.kind] += id(failure) not in seen
            seen.add(id(failure))
            # A worker that is gone as a whole does not say which reward it was in.
            whole = failure.kind in ("timeouts", "crashes")
            first = first or (failure.text if whole else f"{name}: {failure.text}")
    return ScoreReport(samples=len(outcomes), first_error=first, **counts)
