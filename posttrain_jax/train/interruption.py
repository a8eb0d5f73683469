"""Ending a run between two steps when a person (Ctrl-C, SIGINT) or a machine (SIGTERM) asks for it, or a report fails.

Between two steps all processes are at the same place, so that all can save, and end alike.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from posttrain_jax.train import process

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Remembers that the run is to end, and why; use as a context manager.

    The handler sets a flag and nothing else that matters: the loop looks at it between two steps, where everything is
    whole. It also takes itself away, so that the second signal does at once what it does elsewhere: SIGTERM ends the
    process, SIGINT raises KeyboardInterrupt.

    Outside the main thread, where Python allows no handlers, signals keep the meaning that they have.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """What this process was sent, if anything."""
        self.failure: Exception | None = None
        """What failed here of that which may wait until the step is done, if anything."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        """Listen."""
        if threading.current_thread() is threading.main_thread():
            # what is ignored stays ignored: a shell's background jobs are not to hear the Ctrl-C of another
            heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._remember) or signal.SIG_DFL for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the handlers back."""
        self._give_back()

    @contextlib.contextmanager
    def postponing(self) -> Iterator[None]:
        """Remember an error inside, of this process alone, until all end: a file or a service that cannot be written.

        Nothing inside may wait for other processes.
        """
        try:
            yield
        except Exception as error:
            self.failure = self.failure or error

    def agreed(self, *, last: bool) -> bool:
        """Whether any process of the run is to end; all of them must ask after the same step.

        Args:
            last: whether the run ends anyhow, so that nobody needs to ask for it.
        """
        return process.anyone(self.failure is not None or (self.signal is not None and not last))

    def end(self) -> BaseException:
        """What to raise where it was agreed upon; all must call.

        What failed here; or that something failed elsewhere; or, asked to end, an exit with the status that shells have
        for it: 128 and the signal's number, so 143 after SIGTERM, 130 after SIGINT.
        """
        told = process.first_text("" if self.failure is None else str(self.failure) or type(self.failure).__name__)
        if self.failure is not None:
            return self.failure
        if told:
            return RuntimeError(f"another process of the run failed: {told}")
        return SystemExit(128 + (self.signal or signal.SIGTERM))

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._give_back()
        # not print: the signal may have come in the middle of one
        os.write(2, f"\n{self.signal.name}: ending after this step; once more ends at once, unsaved.\n".encode())

    def _give_back(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
