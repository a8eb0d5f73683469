"""Ending a run between two steps when a person (Ctrl-C, SIGINT) or a machine (SIGTERM) asks for it."""

import os
import signal
import threading
from types import FrameType
from typing import Any

from posttrain_jax.train import process

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Remembers that the run was asked to end; use as a context manager.

    The handler sets a flag and nothing else that matters: the loop looks at it between two steps, where everything is
    whole. It also takes itself away, so that the second signal does at once what it does elsewhere: SIGTERM ends the
    process, SIGINT raises KeyboardInterrupt.

    Outside the main thread, where Python allows no handlers, signals keep the meaning that they have.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """What this process was sent, if anything."""
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

    def agreed(self) -> bool:
        """Whether any process of the run was asked to end; all of them must ask after the same step."""
        return process.anyone(self.signal is not None)

    def status(self) -> int:
        """What to exit with, as shells have it: 128 and the signal's number, so 143 after SIGTERM, 130 after SIGINT."""
        return 128 + (self.signal or signal.SIGTERM)

    def _remember(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._give_back()
        # not print: the signal may have come in the middle of one
        os.write(2, f"\n{self.signal.name}: ending after this step; once more ends at once, unsaved.\n".encode())

    def _give_back(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
