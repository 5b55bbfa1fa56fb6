"""What a run would do, and about how long each step would take (ref 15's method).

An upload takes its size by the bandwidth; making an image in the cloud goes at about 160 MB a second (ref
15).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imgtool.records import dataclass
from imgtool.steps.step import Step
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.convert.foretold import Foretold

IMAGE_RATE = 160 << 20  # bytes a second that the platform makes images at (ref 15)
CONVERT_RATE = 150 << 20  # bytes of data a second, compressed, on two slow CPUs
COMPRESSED = 0.5  # of the data, as system disks go
BOOT = 60.0
CALL = 1.0


@dataclass(frozen=True)
class Estimate:
    """One step. size: bytes that it moves; seconds: None where they can't be told."""

    name: str
    title: Text
    size: int | None
    seconds: float | None


@dataclass(frozen=True)
class Sizes:
    """Bytes of an archive's content, of the image's data, as it is uploaded, of the disk; None: not known."""

    unpacked: int | None
    data: int | None
    packed: int | None
    virtual: int | None


def estimates(steps: list[Step], sizes: Sizes, bandwidth: int | None) -> list[Estimate]:
    """For each step of an order. bandwidth: bytes a second, None when not known."""

    def over(size: int | None, rate: int | None, start: float = 0.0) -> float | None:
        return None if size is None or rate is None else start + size / rate

    told: dict[str, tuple[int | None, float | None]] = {
        "check": (None, 0.3),
        "recheck": (None, 0.3),
        "unpack": (sizes.unpacked, over(sizes.unpacked, CONVERT_RATE, 1.0)),
        "fix": (None, 2.0),
        "convert": (sizes.data, over(sizes.data, CONVERT_RATE, 1.0)),
        "rehearse": (None, BOOT),
        "upload": (sizes.packed, over(sizes.packed, bandwidth)),
        "wait": (sizes.virtual, over(sizes.virtual, IMAGE_RATE)),
        "account": (None, 3 * CALL),
    }
    return [Estimate(step.name, step.title, *told.get(step.name, (None, CALL))) for step in steps]


def sizes_of(facts: Mapping[str, Any]) -> Sizes:
    """Of an image, from its facts."""
    data = int(facts["actual_size"] or facts["virtual_size"] or 0)
    virtual = int(facts["virtual_size"] or data)
    return Sizes(data, data, _packed(facts["format"], data, virtual), virtual)


def sizes_in(archive: Foretold) -> Sizes:
    """Of the image in an archive, from what that tells."""
    if archive.packed is not None:  # what is compressed there stays about as large here
        packed = archive.packed
        data = int(packed / COMPRESSED)
        if archive.unpacked is not None:
            data = min(data, archive.unpacked)
        return Sizes(archive.unpacked, data, packed, archive.virtual)
    unpacked = archive.unpacked
    if unpacked is None:
        return Sizes(None, None, None, archive.virtual)
    return Sizes(
        unpacked, unpacked, _packed(archive.format, unpacked, archive.virtual or unpacked), archive.virtual
    )


def _packed(format_: str, data: int, virtual: int) -> int:
    """As a compressed qcow2. One that is small for its disk is compressed already."""
    return data if format_ == "qcow2" and data < virtual // 8 else int(data * COMPRESSED)
