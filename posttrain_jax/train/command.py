"""What a script does around its work: read the command line, join the other hosts, say in a sentence why it stops."""

import contextlib
import dataclasses
import dis
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Generic, TypeVar

import jax
import tyro

import posttrain_jax
from posttrain_jax.train import host

Config = TypeVar("Config")

SENTENCES = (ValueError, RuntimeError, OSError)
"""What the library raises where a person can do something about it."""


@dataclasses.dataclass(frozen=True)
class Command(Generic[Config]):
    """A command line."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Of the script."""
    hosts: host.Hosts = host.Hosts()
    """Other processes of this run, where nothing else tells."""


def run(main: Callable[[Config], object], config: type[Config]) -> None:
    """`main` with the command line's config, in all processes that were given the command.

    Raises:
        SystemExit: with status 1, the run is refused or stopped, and has said why.
    """
    with refusing():
        command = tyro.cli(Command[config], description=config.__doc__)
        command.hosts.join()
        main(command.config)


def alone(main: Callable[[Config], object], config: type[Config]) -> None:
    """Likewise in this process alone: scripts of one device, and such that draw pictures of arrays."""
    with refusing():
        main(tyro.cli(config))


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """End the process with the sentence that is raised inside, and without a traceback, where it says all.

    It does where library or script raise it themselves. What they meet (an error of another library, a bug) keeps its
    traceback.

    Raises:
        SystemExit: with status 1; with 130 where Ctrl-C ends at once.
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        print("Stopped: interrupted; what was not saved is lost.", file=sys.stderr, flush=True)
        raise SystemExit(130) from interruption
    except SENTENCES as error:
        if not deliberate(error):
            raise
        several = jax.distributed.is_initialized()
        who = f"Process {jax.process_index()} of {jax.process_count()} stopped" if several else "Stopped"
        print(f"{who}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from error


def deliberate(error: BaseException) -> bool:
    """Whether a `raise` of the library, or of the script's own folder, made the error."""
    here = error.__traceback__
    if here is None:
        return False
    while here.tb_next is not None:
        here = here.tb_next
    code = here.tb_frame.f_code
    file, package = pathlib.Path(code.co_filename), pathlib.Path(posttrain_jax.__file__).parent
    ours = file.is_relative_to(package) or file.parent == pathlib.Path(sys.argv[0]).resolve().parent
    return ours and dis.opname[code.co_code[here.tb_lasti]] == "RAISE_VARARGS"
