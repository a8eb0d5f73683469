"""How a script starts on several hosts: the same command on each, and every host runs every program."""

import dataclasses

import jax

LOST_AFTER_S = 60
"""Seconds until the other processes end when one of them has died or failed."""


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
