"""A Debian whose dracut initramfs, packed as legacy LZ4, lacked virtio and was mended by one more block.

Legacy LZ4 has no end mark: an archive behind it would end in "Decoding failed".
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures import golden, images
from fixtures.command import run
from fixtures.variants.guest import Guest
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.plan import make_plan
from imgtool.repair.steps import Append
from imgtool.rules import discover


def mended(folder: Path) -> Path:
    """The disk, with what the plan appends to its initramfs."""
    path = images.make("debian12-dracut", folder)
    facts = json.loads((images.path("debian12-dracut").parent / "facts.json").read_text())
    guest = Guest(path, facts, golden.START)
    initrd = f"/boot/initrd.img-{guest.kernel}"
    guest.replace(initrd, without_virtio_in_lz4(guest.read(initrd), guest.kernel))
    with Image(path, load_profile("tce")) as image:
        plan = make_plan(image, discover(), chosen=["linux.virtio.initramfs"])
    (append,) = [step for step in plan.steps if isinstance(step, Append)]
    assert any("dracut/hooks" in name for name in append.holds)
    guest.replace(initrd, guest.read(initrd) + append.content)
    return path


def without_virtio_in_lz4(initramfs: bytes, kernel: str) -> bytes:
    """The initramfs (one gzip archive) without its virtio modules, as a legacy LZ4 stream."""
    with TemporaryDirectory(prefix="initramfs") as name:
        unpacked = Path(name)
        run(
            ["sh", "-euc", "gzip -dc | cpio -idm --quiet --no-absolute-filenames"],
            input=initramfs,
            cwd=unpacked,
        )
        for module in unpacked.rglob("*virtio*.ko*"):
            module.unlink()
        run(["depmod", "-b", unpacked, kernel])
        pack = "find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | lz4 -l -c"
        return run(["sh", "-euc", pack], cwd=unpacked)
