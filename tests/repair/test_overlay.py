"""An overlay of ours reads as the image below it with what was written over it, by every reader."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imgtool.convert import qemu_img
from imgtool.disk.probe import probe
from imgtool.image import Image
from imgtool.lazy import preset
from imgtool.profiles import load_profile
from imgtool.repair.overlay import lay_over, over
from tests.guest.made_disks import Part, disk_file, system

FSTAB = "/dev/sda1 / ext4 defaults 0 1\n"
FORMATS = {
    "raw": (),
    "qcow2": (),
    "vmdk": ("-o", "subformat=streamOptimized"),
    "vpc": ("-o", "subformat=fixed,force_size=on"),
}


@pytest.mark.parametrize("format_", FORMATS)
def test_rules_and_conversions_see_the_image_through_it(tmp_path: Path, format_: str) -> None:
    raw = disk_file(tmp_path, Part(system(FSTAB)))
    below = raw
    if format_ != "raw":
        below = tmp_path / f"a b,c.{format_}"
        command = ["qemu-img", "convert", "-O", format_, *FORMATS[format_], raw, below]
        subprocess.run(command, check=True)
    before = below.read_bytes()
    file = probe(below)
    overlay = tmp_path / "over.qcow2"
    lay_over(file, overlay)
    written = f"write -P 0x41 {raw.stat().st_size - 65536} 4096"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", written, overlay], check=True, capture_output=True)
    found = over(file, overlay)
    with Image(overlay, load_profile("tce")) as image:
        preset(image, file=found)
        assert image.linux.tree.text("/etc/fstab") == FSTAB
        assert image.disk.blocks.read(raw.stat().st_size - 65536, 4096) == b"A" * 4096
    out = tmp_path / "out.raw"
    qemu_img.convert(found, out, "raw", {})
    expected = bytearray(raw.read_bytes())
    expected[-65536 : -65536 + 4096] = b"A" * 4096
    assert out.read_bytes()[: len(expected)] == bytes(expected)
    qemu_img.compare(found, probe(out), processes=2)
    assert below.read_bytes() == before
