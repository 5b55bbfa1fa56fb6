"""Images made to mislead or to exhaust: an answer, within memory and time, in the whole process."""

from __future__ import annotations

import sys

import pytest

from bench.process import peak_memory
from fixtures import cache, images

pytestmark = pytest.mark.slow

MOST_MEMORY = 512 << 20
HANGS = 60  # seconds; for a loop without end, not for speed

# The exit code of `imgtool check`: 0 pass, 1 fail, 3 can't be judged.
GUESTS = {
    "debian12-bios/os-release-huge": 3,
    "debian12-bios/os-release-links-to-itself": 0,
    "debian12-bios/folder-link-loop": 0,
    "debian12-bios/links-leave-the-root": 1,
    "debian12-bios/initramfs-bomb-gzip": 3,
    "debian12-bios/initramfs-bomb-xz": 3,
    "debian12-bios/initramfs-bomb-zstd": 3,
    "debian12-bios/initramfs-bomb-in-one-file": 3,
    "debian12-bios/initramfs-wants-window": 3,
    "debian12-bios/initramfs-many-files": 3,
    "windows-2016/hive-without-end": 3,
    "layout/mbr-logical-loop": 1,
    "layout/gpt-huge-entries": 1,
    "file/noise": 1,
    "file/nothing": 1,
    "file/one-byte": 1,
    "file/qcow2-backing-file": 1,
    "file/qcow2-backing-json": 1,
    "file/vmdk-extent-elsewhere": 1,
}


@pytest.mark.parametrize(("name", "code"), GUESTS.items())
def test_a_hostile_image_gets_an_answer_within_bounds(name: str, code: int) -> None:
    with cache.scratch() as folder:
        said = folder / "said"
        check = [sys.executable, "-m", "imgtool", "check", str(images.make(name, folder))]
        into_a_file = ["timeout", str(HANGS), "sh", "-c", 'exec "$@" > "$0" 2>&1', str(said)]
        assert peak_memory([*into_a_file, *check], expected=code) <= MOST_MEMORY
        assert "Traceback" not in said.read_text()
