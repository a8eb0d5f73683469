"""What a run was made of: kept with its numbers and its checkpoints, and compared when it goes on."""

import contextlib
import importlib.metadata
import json
import pathlib
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from posttrain_jax.models import tokenizer
from posttrain_jax.train import leaf, metrics, process, reference

MAY_CHANGE = ("compute", "earlier", "mesh", "optimizer", "rewards", "version")
"""What a run may go on with another of."""
TOLD = {"mesh": "another mesh", "optimizer": "another optimizer", "rewards": "other rewards"}
"""What of these is announced."""
UNKNOWN = {"mesh": "a mesh", "optimizer": "an optimizer", "rewards": "rewards"}
"""What is said where an earlier version did not record it."""
LONGEST = 2000
"""Characters of one text; of longer ones the rest counts by its checksum."""


def complete(about: Mapping[str, str]) -> dict[str, str]:
    """`about` with the version of this library, and the same in every process."""
    # functions among a recipe's fields lie elsewhere in memory in every process
    fixed = {name: _shortened(re.sub(r" at 0x[0-9a-f]+", "", text)) for name, text in about.items()}
    return fixed | {"version": version()}


def _shortened(text: str) -> str:
    rest = text[LONGEST:]
    return f"{text[:LONGEST]}... ({len(rest)} more of checksum {zlib.crc32(rest.encode()):08x})" if rest else text


def agreed(about: Mapping[str, str]) -> dict[str, str]:
    """What is the same in every process of a run: the texts of rewards, which may hold sets, need not be."""
    return {name: text for name, text in about.items() if name not in ("earlier", "rewards")}


def parts_of(parts: Any) -> dict[str, str]:
    """What both loops have: the method, the model, and what it is compared with."""
    told = {"objective": parts.recipe, "optimizer": parts.optimizer.update, "reference": parts.moving}
    told |= {"model": parts.model.config, "compute": parts.model.compute, "lora": parts.model.lora}
    texts = {name: repr(x) for name, x in told.items()} | {"mesh": of_mesh(parts.model.mesh)}
    return texts | {f"fixed/{role}": of_model(one) for role, one in parts.fixed.items()}


def of_online(parts: Any) -> dict[str, str]:
    """What a run of `online.Online` is, by field."""
    always = ("sampling", "group_size", "updates_per_rollout", "selection", "rewards")
    told = {name: vars(parts)[name] for name in always}
    told |= {name: vars(parts)[name] for name in ("judge", "versions", "players", "turns") if vars(parts)[name]}
    return parts_of(parts) | {name: repr(x) for name, x in told.items()} | of_tokenizer(parts.tokenizer)


def of_mesh(mesh: Mesh) -> str:
    """Which devices, cut how."""
    axes = ", ".join(f"{name}={size}" for name, size in mesh.shape.items())
    return f"Mesh({axes}, device={mesh.devices.flat[0].device_kind})"


def of_model(fixed: reference.Fixed) -> str:
    """Which other model that is: its kind, and what its parameters are."""
    whole = jax.NamedSharding(fixed.model.mesh, jax.P())
    return f"{type(fixed.model).__name__} of checksum {leaf.checksum(leaf.flatten(fixed.params), whole):08x}"


def of_tokenizer(words: tokenizer.Tokenizer) -> dict[str, str]:
    """Which tokens, and which template, a run is of."""
    vocabulary = repr(sorted(words.pretrained.get_vocab().items())).encode()
    template = repr(words.pretrained.chat_template).encode()
    told = f"{words.vocab_size} tokens of checksum {zlib.crc32(vocabulary):08x}, template {zlib.crc32(template):08x}"
    return {"tokenizer": told}


def of_weights(name: str, params: PyTree, mesh: Mesh) -> dict[str, str]:
    """Which weights these are, if any: checkpoints do not hold them, and must not go on with others.

    They are the base under a run's adapters, or a reference that stands still.
    """
    checksum = leaf.checksum(leaf.flatten(params), jax.NamedSharding(mesh, jax.P())) if params else 0
    return {name: f"of checksum {checksum:08x}"} if params else {}


def refuse(folder: pathlib.Path, about: Mapping[str, str], saved: Mapping[str, str]) -> None:
    """Refuse to go on with another method, which would pass for one that the run had from the beginning.

    Args:
        folder: of the run.
        about: what it is now.
        saved: what `about` was when it was saved.

    Raises:
        ValueError: the method, the model or what it learns from is another.
    """
    for name in {**about, **saved}:  # a judge or opponent that is left out is another method as well
        if name not in MAY_CHANGE and saved.get(name) != about.get(name):
            raise ValueError(
                f"{folder} holds a run with {name} {saved.get(name)}, and this one has {about.get(name)} (versions"
                f" {saved.get('version')} and {about['version']} of posttrain_jax): go on with the same, or give"
                " another folder."
            )


def follow(folder: pathlib.Path, step: int, saved: Mapping[str, str], about: Mapping[str, str]) -> dict[str, str]:
    """`about`, with the mesh, optimizers and rewards that the run had before these, which are announced.

    Others may be meant: a lower learning rate, a longer schedule, a reward that weighs less from now on.

    Args:
        folder: of the run.
        step: the one it goes on from.
        saved: what `about` was then.
        about: what it is now.
    """
    earlier = saved.get("earlier", "")
    for name, others in TOLD.items():
        before, now = saved.get(name), about.get(name)
        if now is not None and before != now:
            earlier += f"{name} until step {step}: {before or 'not recorded'}. "
            what = others if before else f"{UNKNOWN[name]} not recorded"
            process.tell(
                f"{folder} was trained until step {step} with {what} and goes on with {differences(before, now)}: if"
                " that is not meant, stop it and give the same settings again."
            )
    return dict(about) | ({"earlier": earlier} if earlier else {})


def differences(before: str | None, now: str) -> str:
    """The fields of two objects' texts that differ, or the whole of the second where they have other fields.

    >>> differences("Cosine(peak=0.1, total_steps=20)", "Cosine(peak=0.1, total_steps=40)")
    'total_steps=40 (until now 20)'
    """
    fields = re.compile(r"(\w+)=([^(),]+)(?=[,)])")
    if before is None or fields.sub("", before) != fields.sub("", now):
        return now
    pairs = zip(fields.findall(before), fields.findall(now), strict=True)
    return ", ".join(f"{name}={new} (until now {old})" for (_, old), (name, new) in pairs if old != new)


def version() -> str:
    """Of this library."""
    try:
        return importlib.metadata.version("posttrain_jax")
    except importlib.metadata.PackageNotFoundError:
        return "of a source tree that is not installed"


def write(folder: pathlib.Path, about: Mapping[str, str]) -> None:
    """Write `run.json`: what is run, by which command, at which commit."""
    commit = None
    if shutil.which("git"):
        here = pathlib.Path(__file__).parent
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=here)
        commit = git.stdout.strip() or None
    facts = {"command": sys.argv, "commit": commit, "jax": jax.__version__}
    (folder / "run.json").write_text(json.dumps(dict(about) | facts, indent=2) + "\n", encoding="utf-8")


def withdraw(folder: pathlib.Path, *, made: bool) -> None:
    """Leave nothing of a run that ended before it reported or saved anything, as one does that is refused.

    Args:
        folder: of the run, which has ended.
        made: whether the run made it.
    """
    if jax.process_index() > 0:
        return
    checkpoints, reports = folder / "checkpoints", [folder / name for name in metrics.FILES]
    with contextlib.suppress(OSError):  # it is not empty
        checkpoints.rmdir()
    if checkpoints.exists() or any(path.exists() and path.stat().st_size for path in reports):
        return
    for path in (folder / "run.json", *reports):
        path.unlink(missing_ok=True)
    if made:
        with contextlib.suppress(OSError):  # something else lies in it
            folder.rmdir()
