"""libyal's readers and ours see the same files on the golden disks (docs/decisions.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgtool.disk.blocks import BlockFile
from imgtool.disk.disk import open_disk
from imgtool.disk.probe import probe
from imgtool.guest.filesystem import Filesystem, open_filesystem

pytestmark = pytest.mark.slow

READ = 1 << 20  # of each file; the first MiB shows whether the two follow the same extents


def ours(filesystem: Filesystem) -> Iterator[tuple[str, tuple[Any, ...]]]:
    todo = [("", filesystem.root)]
    while todo:
        path, node = todo.pop()
        for name in filesystem.names(node):
            below = filesystem.lookup(node, name)
            assert below is not None
            stat = filesystem.stat(below)
            seen: tuple[Any, ...] = (stat.mode, stat.uid, stat.gid)
            if stat.kind == "directory":
                todo.append((f"{path}/{name}", below))
            elif stat.kind == "symlink":
                seen += (filesystem.readlink(below),)
            elif stat.kind == "file":
                seen += (stat.size, filesystem.read(below, 0, READ))
            yield f"{path}/{name}", seen


def theirs(volume: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    todo = [("", volume.get_root_directory())]
    while todo:
        path, node = todo.pop()
        for below in node.sub_file_entries:
            seen: tuple[Any, ...] = (
                below.file_mode & 0o7777,
                below.owner_identifier,
                below.group_identifier,
            )
            kind = below.file_mode & 0o170000
            if kind == 0o040000:
                todo.append((f"{path}/{below.name}", below))
            elif kind == 0o120000:
                seen += (below.symbolic_link_target,)
            elif kind == 0o100000:
                below.seek(0)
                seen += (below.size, below.read(READ) if below.size else b"")
            yield f"{path}/{below.name}", seen


@pytest.mark.parametrize(
    ("name", "type_", "module"),
    [("debian12-bios", "ext4", "pyfsext"), ("debian12-lvm-xfs", "xfs", "pyfsxfs")],
)
def test_every_file_of_the_golden_root_is_the_same_to_libyal(
    name: str, type_: str, module: str, image: Callable[..., Path]
) -> None:
    library = pytest.importorskip(module)
    with open_disk(probe(image(name))) as disk:
        volume = max((it for it in disk.volumes if it.signature.type == type_), key=lambda it: it.blocks.size)
        other = library.volume()
        other.open_file_object(BlockFile(volume.blocks))
        expected = dict(theirs(other))
        found = dict(ours(open_filesystem(volume)))
        assert len(found) > 10_000
        assert found.keys() == expected.keys()
        assert [path for path in found if found[path] != expected[path]] == []
        other.close()
