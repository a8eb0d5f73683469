"""What a chip has: memory, arithmetic, links."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peaks of one chip.

    Source: "System architecture" of the Cloud TPU documentation for arithmetic and memory bandwidth; "How to scale your
    model" (Austin et al. 2025), chapter 2, for links; the TPU compiler's own limit for the memory's size.
    """

    kind: str
    """`device_kind` of its devices."""
    memory: float
    """Bytes of the large memory (HBM) that a program may fill."""
    flops: float
    """Of bfloat16 products, in a second."""
    memory_rate: float
    """Bytes a second between core and large memory."""
    link_rate: float
    """Bytes a second of one link in one direction; a ring along an axis of the torus uses two."""


CHIPS = (
    Chip("TPU v5 lite", memory=15.75 * 2**30, flops=197e12, memory_rate=819e9, link_rate=45e9),
    Chip("TPU v5", memory=95.74 * 2**30, flops=459e12, memory_rate=2765e9, link_rate=90e9),
    Chip("TPU v6 lite", memory=31.25 * 2**30, flops=918e12, memory_rate=1640e9, link_rate=90e9),
)


def of(kind: str) -> Chip:
    """The chip whose devices are called `kind`.

    Raises:
        ValueError: its peaks are not written down here.
    """
    for chip in CHIPS:
        if chip.kind == kind:
            return chip
    raise ValueError(f"no peaks are known for {kind!r}: add a line to tpu/chip.py.")
