"""What the processes of one run do as one: agree, and speak with one voice."""

import sys

import jax
import numpy as np
from jax.experimental import multihost_utils


def anyone(here: bool) -> bool:
    """Whether it is so in any process; all of them must ask, and all get the same answer."""
    if jax.process_count() == 1:
        return here
    return bool(np.any(multihost_utils.process_allgather(np.asarray(here))))


def tell(text: str) -> None:
    """Say a sentence to the person who started the run, once and not once in every process."""
    if jax.process_index() == 0:
        print(text, file=sys.stderr, flush=True)
