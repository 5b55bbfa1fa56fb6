"""What a run would do, and about how long each step would take (ref 15's method).

An upload takes its size by the bandwidth; making an image in the cloud goes at about 160 MB a second (ref
15).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imgtool.records import dataclass
from imgtool.steps.step import Order, Step
from imgtool.text import Text

IMAGE_RATE = 160 << 20  # bytes a second that the platform makes images at (ref 15)
CONVERT_RATE = 150 << 20  # bytes of data a second, compressed, on two slow CPUs
COMPRESSED = 0.5  # of the data, as system disks go
BOOT = 60.0
CALL = 1.0


@dataclass(frozen=True)
class Estimate:
    """One step. size: bytes that it moves; seconds: None where the bandwidth is not known."""

    name: str
    title: Text
    size: int | None
    seconds: float | None


def estimates(
    order: Order, steps: list[Step], facts: Mapping[str, Any], bandwidth: int | None
) -> list[Estimate]:
    """For each step of an order. facts: of the image; bandwidth: bytes a second, None when not known."""
    data = int(facts["actual_size"] or facts["virtual_size"] or 0)
    packed = (
        data
        if facts["format"] == "qcow2" and data < (facts["virtual_size"] or 0) // 8
        else int(data * COMPRESSED)
    )
    virtual = int(facts["virtual_size"] or data)
    sent = None if bandwidth is None else packed / bandwidth
    told: dict[str, tuple[int | None, float | None]] = {
        "check": (None, 0.3),
        "recheck": (None, 0.3),
        "unpack": (data, 1.0 + data / CONVERT_RATE),
        "fix": (None, 2.0),
        "convert": (data, 1.0 + data / CONVERT_RATE),
        "rehearse": (None, BOOT),
        "upload": (packed, sent),
        "wait": (virtual, virtual / IMAGE_RATE),
        "account": (None, 3 * CALL),
    }
    return [Estimate(step.name, step.title, *told.get(step.name, (None, CALL))) for step in steps]
