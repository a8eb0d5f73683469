"""How many completions each prompt of the next batch should get, from the success rates seen so far. On the host.

A prompt of budget k stands in the batch as several rows that share its id: advantages are over groups of any size.
"""

import numpy as np
from jaxtyping import Float, Int


def value(budgets: Int[np.ndarray, "*shape"], rates: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """What k completions of a prompt with success rate p are worth: (1 - p^k - (1 - p)^k) p (1 - p)^2.

    The first factor is the chance that not all succeed or fail, so that there is a gradient; the second is largest at
    p = 1/3.

    Source: Li et al. 2025 (Knapsack RL, arXiv:2509.25849).
    """
    return (1 - rates**budgets - (1 - rates) ** budgets) * rates * (1 - rates) ** 2


def allocate(rates: Float[np.ndarray, "P"], *, total: int, low: int = 2, high: int = 128) -> Int[np.ndarray, "P"]:
    """Budgets of the largest summed `value` among those between `low` and `high` that sum to `total`.

    The gain of one more completion, p (1 - p) [p^(k-1) + (1 - p)^(k-1)] p (1 - p)^2, falls with k from k = 1 on. So
    completions are given one after the other to the prompt that gains most, the first of equal ones, and that is
    optimal: the paper's dynamic programme finds the same. Prompts that always succeed get `low`. Where all others have
    `high`, what is left goes to prompts that never succeed, as evenly as it can.

    Args:
        rates: success rates of the last epoch, between 0 and 1.
        total: completions of the batch.
        low: of each prompt, at least 1.
        high: of each prompt.

    Raises:
        ValueError: rates or bounds mean nothing, or the budgets cannot sum to `total`.

    Source: Li et al. 2025 (Knapsack RL, arXiv:2509.25849).
    """
    if not (np.all(rates >= 0) and np.all(rates <= 1)):
        raise ValueError(f"success rates lie between {rates.min()} and {rates.max()}: they are shares of completions.")
    if not 1 <= low <= high:
        raise ValueError(f"low={low} must be at least 1 completion and at most high={high}.")
    extra, steps, failing = total - low * len(rates), high - low, rates == 0
    room = steps * int(np.sum(rates < 1))
    if not 0 <= extra <= room:
        raise ValueError(f"{len(rates)} prompts take {low * len(rates)} to {low * len(rates) + room}, not {total}.")
    exponents = np.arange(low, high)[None] - 1
    p = rates[:, None]
    gains = p * (1 - p) * (p**exponents + (1 - p) ** exponents) * p * (1 - p) ** 2
    gains[rates == 1] = -1
    # What never succeeds gains nothing: in turns, behind everything else.
    gains[failing] = -(exponents + 1.0) / (high + 1)
    order = np.argsort(-gains, axis=None, kind="stable")[:extra]
    return low + np.bincount(order // max(steps, 1), minlength=len(rates))
