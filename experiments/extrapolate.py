"""Go on beyond a model, away from another one: the momentum of accelerated preference optimization, ExPO, Self-NPO.

    python experiments/extrapolate.py --ahead runs/second/model --behind runs/first/model --scale 0.3 --folder runs/on

Writes ahead + scale (ahead - behind), leaf by leaf, as a model folder. Accelerated (Nesterov) preference optimization
is rounds of `dpo.py` on pairs that the round's own start wrote. The first starts from the model itself, the second from
what this writes of the first round's end, away from that model, the third of the second's end, away from the first's,
and so on (scale 0.3). The start is the reference; the last round's end is what is wanted. One round and this is ExPO.
"""

import dataclasses
from pathlib import Path

from posttrain_jax.losses import extrapolation
from posttrain_jax.models import pretrained
from posttrain_jax.train import command


@dataclasses.dataclass(frozen=True)
class Config:
    """Two models of one architecture and tokenizer."""

    ahead: str
    """Folder or hub name of the model to go on from."""
    behind: str
    """Of the one to go away from."""
    scale: float
    """How far, in differences of the two; 0 stays."""
    folder: Path
    """Of what is written."""


def main(c: Config) -> None:
    """Load, extrapolate, write."""
    ahead, behind = (pretrained.Checkpoint(name).load() for name in (c.ahead, c.behind))
    ahead.tokenizer.check_same(behind.tokenizer, "behind")
    if ahead.model.config != behind.model.config:
        raise ValueError(f"{c.ahead} and {c.behind} are of different shapes: extrapolate models of one architecture.")
    ahead.save(c.folder, extrapolation.beyond(ahead.params, behind.params, scale=c.scale))
    print(f"{c.folder}: {c.scale:g} beyond {c.ahead}, away from {c.behind}")


if __name__ == "__main__":
    command.alone(main, Config)
