"""How many completions each prompt of the next batch should get, from the success rates seen so far. On the host.

A prompt of budget k stands in the batch as several rows that share its id: advantages are over groups of any size.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from posttrain_jax.rollout import selection


def value(budgets: Int[np.ndarray, "*shape"], rates: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """What k completions of a prompt with success rate p are worth: (1 - p^k - (1 - p)^k) p (1 - p)^2.

    The first factor is the chance that not all succeed or fail, so that there is a gradient; the second is largest at
    p = 1/3.

    Source: Li et al. 2025 (Knapsack RL, arXiv:2509.25849).
    """
    return (1 - rates**budgets - (1 - rates) ** budgets) * rates * (1 - rates) ** 2


def allocate(
    rates: Float[np.ndarray, "P"], *, total: int, low: int = 2, high: int = 128, unit: int = 1
) -> Int[np.ndarray, "P"]:
    """Budgets of the largest summed `value` among those between `low` and `high` that sum to `total`.

    The gain of u more completions, [p^k (1 - p^u) + (1 - p)^k (1 - (1 - p)^u)] p (1 - p)^2, falls with k from k = 1 on.
    So units are given one after the other to the prompt that gains most, the first of equal ones, and that is optimal:
    the paper's dynamic programme finds the same. Prompts that always succeed get `low`. Where all others have `high`,
    what is left goes to prompts that never succeed, as evenly as it can.

    Args:
        rates: success rates of the last epoch, between 0 and 1.
        total: completions of the batch.
        low: of each prompt, at least 1.
        high: of each prompt.
        unit: completions that are given at a time, in which all three are counted: the completions of a row.

    Raises:
        ValueError: rates or bounds mean nothing, or the budgets cannot sum to `total`.

    Source: Li et al. 2025 (Knapsack RL, arXiv:2509.25849).
    """
    if not (np.all(rates >= 0) and np.all(rates <= 1)):
        raise ValueError(f"success rates lie between {rates.min()} and {rates.max()}: they are shares of completions.")
    if not 1 <= low <= high:
        raise ValueError(f"low={low} must be at least 1 completion and at most high={high}.")
    if any(count % unit for count in (total, low, high)):
        raise ValueError(f"total={total}, low={low} and high={high} are not all multiples of {unit} completions.")
    extra, steps, failing = (total - low * len(rates)) // unit, (high - low) // unit, rates == 0
    room = steps * int(np.sum(rates < 1))
    if not 0 <= extra <= room:
        most = low * len(rates) + room * unit
        raise ValueError(f"{len(rates)} prompts take {low * len(rates)} to {most}, not {total}.")
    counts, p = np.arange(low, high, unit)[None], rates[:, None].astype(np.float64)
    gains = (p**counts * (1 - p**unit) + (1 - p) ** counts * (1 - (1 - p) ** unit)) * p * (1 - p) ** 2
    gains[rates == 1] = -1
    # What never succeeds gains nothing: in turns, behind everything else.
    gains[failing] = -counts / (high + 1.0)
    order = np.argsort(-gains, axis=None, kind="stable")[:extra]
    return low + unit * np.bincount(order // max(steps, 1), minlength=len(rates))


@dataclasses.dataclass(frozen=True)
class Knapsack:
    """Knapsack RL: more completions for prompts of which more is to be learned, at the same cost.

    A batch of P rows of G completions goes to fewer prompts, each taking as many rows as `allocate` gives it from its
    success rate when it was asked last. Prompts asked for the first time share evenly what is theirs.

    Differs from the paper: budgets are whole rows, G completions; with group_size 1 they are the paper's. No
    bound holds from above (N_up is 128 there).

    Source: Li et al. 2025 (Knapsack RL, arXiv:2509.25849).
    """

    prompts: int
    """Different prompts of a batch; its rows are a multiple of them."""
    low: int = 1
    """Rows of each prompt at least (with 2 completions, N_low)."""
    above: float = 0.5
    """A reward above this is a success."""
    column: str | None = None
    """The reward that counts; None for the weighted sum."""

    def __post_init__(self):
        if self.prompts < 1 or self.low < 1:
            raise ValueError(f"prompts={self.prompts} and low={self.low} must be at least 1.")

    def init_memory(self, prompts: int) -> selection.Memory:
        """The success rate of every prompt; NaN of one that was not asked."""
        return {"rates": np.full(prompts, np.nan, np.float32)}

    def collect(self, memory: selection.Memory, ask: selection.Ask) -> tuple[selection.Found, selection.Memory]:
        """One round."""
        if ask.rows % self.prompts or ask.rows < self.low * self.prompts:
            raise ValueError(
                f"a batch of {ask.rows} rows does not go to {self.prompts} prompts of {self.low} rows or more: use a"
                " multiple of the prompts that is large enough."
            )
        places = ask.fresh(self.prompts)
        found = ask(np.repeat(places, self._rows(memory["rates"][places], ask.rows, ask.group_size)))
        seen, rates = selection.success_rates(found, above=self.above, column=self.column)
        return found, {"rates": selection.updated(memory["rates"], seen, rates)}

    def _rows(self, rates: Float[np.ndarray, "M"], total: int, group_size: int) -> Int[np.ndarray, "M"]:
        known = ~np.isnan(rates)
        rows = np.full(len(rates), total // len(rates))
        if np.any(known) and not np.all(rates[known] == 1):
            share = int(rows[known].sum())
            low, total = self.low * group_size, share * group_size
            rows[known] = allocate(rates[known], total=total, low=low, high=total, unit=group_size) // group_size
        return rows
