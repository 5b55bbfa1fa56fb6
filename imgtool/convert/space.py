"""How much storage a conversion is going to take, and whether it is there.

The first estimate is what is allocated in the source. Where that does not fit, a sample of the disk is read
before anything is refused: allocated clusters may be zeros, and compression may make it fit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.convert import qemu_img
from imgtool.convert.archives import free_bytes
from imgtool.convert.output import NoRoom, shown
from imgtool.disk.commands import byte_count
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.blocks import Blocks
    from imgtool.disk.probe import ImageFile

CLUSTER = 64 * 1024
SAMPLES = 1024
FEWEST = 16  # samples with data below which they say nothing
UNSURE = 0.8  # a sampled estimate may be so far above the truth


@dataclass(frozen=True)
class Estimate:
    """Bytes of storage. sampled: from a sample, and so a little uncertain."""

    needed: int
    sampled: bool


def require(
    file: ImageFile,
    folder: Path,
    *,
    compress: bool,
    copies: int = 0,
    free: Callable[[Path], int] = free_bytes,
) -> Estimate:
    """Raise NoRoom, with numbers, when the output can't fit into the storage of `folder`.

    copies: uncompressed copies that are made beside it on the way. free: bytes free in a folder.
    """
    available = free(folder)
    allocated = qemu_img.measure(file)
    if allocated * (1 + copies) <= available:
        return Estimate(allocated * (1 + copies), sampled=False)
    from imgtool.convert.verify import blocks_of

    with blocks_of(file) as blocks:
        plain, packed = sample(blocks)
    plain, packed = min(plain, allocated), min(packed, allocated)
    needed = (packed if compress else plain) + copies * plain
    if needed * UNSURE > available:
        raise NoRoom(
            Text(
                en=f"The conversion needs about {byte_count(needed)} in {shown(folder)}, and "
                f"{byte_count(available)} "
                "are free there. Make room, or give an output elsewhere.",
                zh=f"转换约需 {byte_count(needed)}，而 {shown(folder)} 仅剩 {byte_count(available)}。"
                "请释放空间，或将输出放到其他位置。",
            )
        )
    return Estimate(needed, sampled=True)


def sample(blocks: Blocks) -> tuple[int, int]:
    """Estimates of the bytes that are not zeros, and of those compressed, from clusters at even distances.

    (0, 0) when too few of them hold data to say.
    """
    clusters = -(-blocks.size // CLUSTER)
    step = max(1, clusters // SAMPLES)
    taken = data = packed = 0
    for number in range(step // 2, clusters, step):
        start = number * CLUSTER
        content = blocks.read(start, min(CLUSTER, blocks.size - start))
        taken += 1
        if content.count(0) != len(content):
            data += 1
            packed += min(len(content), len(zlib.compress(content, 1)))
    if data < FEWEST:
        return 0, 0
    return data * CLUSTER * clusters // taken, packed * clusters // taken
