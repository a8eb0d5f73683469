"""How a script starts on several hosts: the same command on each, and every host runs every program."""

import dataclasses
import sys
import threading

import jax

LOST_AFTER_S = 60
"""Seconds until the other processes end when one of them has died or failed."""
TOLD_AFTER_S = 20
"""Seconds of waiting at the start until somebody is told what is waited for; JAX itself aborts after five minutes."""


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The processes that run a command together. Cloud TPU, Slurm and Open MPI know: leave everything out there."""

    coordinator: str | None = None
    """ADDRESS:PORT where the first process is found; the port is free there."""
    count: int | None = None
    """Processes."""
    index: int | None = None
    """Of this process, from 0."""

    def join(self) -> None:
        """Wait for the other processes, if there are any; before anything else is asked of jax.

        Where a process dies or ends with an error, the others end too, within about `LOST_AFTER_S`.

        Raises:
            ValueError: only some of the three fields are given.
        """
        given = [x is not None for x in (self.coordinator, self.count, self.index)]
        if any(given) and not all(given):
            raise ValueError(f"{self} is incomplete: give coordinator, count and index, or none of them.")
        waiting = threading.Timer(TOLD_AFTER_S, self._tell)
        waiting.daemon = True
        waiting.start()
        try:
            jax.distributed.initialize(
                self.coordinator,
                self.count,
                self.index,
                heartbeat_timeout_seconds=LOST_AFTER_S,
                shutdown_timeout_seconds=LOST_AFTER_S,
            )
        except ValueError as error:
            # what jax says where nothing knows of other processes
            if "coordinator_address should be defined" not in str(error):
                raise
        finally:
            waiting.cancel()

    def _tell(self) -> None:
        """That others are missing, on the terminal: which ones, JAX does not say."""
        own = "This process" if self.index is None else f"Process {self.index} of {self.count}"
        where = "" if self.coordinator is None else f" at {self.coordinator}"
        print(
            f"{own} still waits for the others{where} after {TOLD_AFTER_S} s: the same command must run on every host,"
            " and reach the first one.",
            file=sys.stderr,
            flush=True,
        )
