"""What the processes of one run do as one: agree, speak with one voice, and keep others out of its folder."""

import contextlib
import pathlib
import sys
import zlib
from collections.abc import Iterator

import filelock
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


def first_text(text: str, *, limit: int = 2000) -> str:
    """What the first process that says anything says (at most `limit` bytes); all must call."""
    if jax.process_count() == 1:
        return text
    padded = np.frombuffer(text.encode()[:limit].ljust(limit, b"\0"), np.uint8)
    texts = [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in multihost_utils.process_allgather(padded)]
    return next(filter(None, texts), "")


@contextlib.contextmanager
def as_one(*kinds: type[Exception]) -> Iterator[None]:
    """Refuse in every process what one of them refuses inside, with the same sentence; all must enter.

    Args:
        kinds: of refusals; `ValueError` where none is given.

    Raises:
        ValueError: one was raised inside, in this process or in another; of `kinds`, where these are given, what was
            raised in this process, or the first.
    """
    refusal, cause, kinds = "", None, kinds or (ValueError,)
    try:
        yield
    except kinds as error:
        refusal, cause = str(error) or type(error).__name__, error
    if sentence := first_text(refusal):
        raise next((kind for kind in kinds if isinstance(cause, kind)), kinds[0])(sentence) from cause


def agree(text: str, otherwise: str) -> None:
    """Go on where `text` is the same in every process; all must call.

    Raises:
        ValueError: it is not, in every process, with `otherwise` said of the first that differs.
    """
    sums = multihost_utils.process_allgather(np.uint32(zlib.crc32(text.encode())))
    different = np.flatnonzero(sums != sums[0])
    if different.size:
        raise ValueError(
            f"process {different[0]} of {len(sums)} {otherwise}: give every host the same command, the same data, and"
            " a folder on storage that all of them share."
        )


class Lock:
    """The first process keeps others from training in `folder`, until it lets go of it or ends, in whatever way.

    Storage that knows no locks is taken as it is.

    Raises:
        ValueError: another run is under way in the folder.
    """

    def __init__(self, folder: pathlib.Path):
        self._file = filelock.FileLock(folder / "run.lock", timeout=0)
        if jax.process_index() > 0:
            return
        try:
            self._file.acquire()
        except filelock.Timeout as error:
            raise ValueError(
                f"another process is training in {folder}: wait until it has ended, or give another folder."
            ) from error
        except OSError:
            return

    def release(self) -> None:
        """Let others in."""
        if self._file.is_locked:
            pathlib.Path(self._file.lock_file).unlink(missing_ok=True)
            self._file.release()
