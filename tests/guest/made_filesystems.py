"""Folders of the strange things a guest can hold, filesystems made of them by the real mkfs, and the
comparison of what a reader says with what the folder holds."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from imgtool.disk.blocks import Blocks, ReadFailed
from imgtool.errors import CannotRead
from imgtool.guest.filesystem import Filesystem

LONG_TARGET = "directory/" * 30 + "end"


class Memory:
    """Blocks over bytes, which a test may change."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or offset + length > len(self.data):
            raise ReadFailed(offset, length, "outside")
        return bytes(self.data[offset : offset + length])


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.decode()


def fill(folder: Path, names: int = 400) -> Path:
    """Files of every size class, links short and long, holes, a directory of many names."""
    (folder / "etc").mkdir(parents=True)
    folder.chmod(0o755)  # what mke2fs gives the top folder, whatever the umask made of it
    (folder / "etc/os-release").write_text("ID=debian\n")
    (folder / "etc/empty").write_bytes(b"")
    (folder / "etc/secret").write_text("root:*:1:0:99999:7:::\n")
    (folder / "etc/secret").chmod(0o640)
    (folder / "etc/tool").write_bytes(b"\x7fELF")
    (folder / "etc/tool").chmod(0o4755)
    (folder / "etc/中文").write_text("名")
    (folder / "etc/short").symlink_to("../usr/lib/rand")
    (folder / "etc/long").symlink_to(LONG_TARGET)
    (folder / "usr/lib/a/b/c").mkdir(parents=True)
    (folder / "usr/lib/rand").write_bytes(random.Random(1).randbytes(150_001))
    os.link(folder / "usr/lib/rand", folder / "usr/lib/hard")
    (folder / "many").mkdir()
    for number in range(names):
        (folder / f"many/a-name-that-takes-some-room-{number:06d}").write_text(str(number))
    with (folder / "etc/holes").open("wb") as file:
        for number in range(500):
            file.seek(number * 8192 + 100)
            file.write(b"%d" % number * 50)
    return folder


def make_ext(folder: Path | None, image: Path, *options: str, size: str = "32M") -> Path:
    # mke2fs would give the top folder to root, whoever owns it
    source = ("-d", folder, "-E", f"root_owner={os.getuid()}:{os.getgid()}") if folder else ()
    run("mke2fs", "-q", "-F", *options, *source, image, size)
    return image


def make_xfs(folder: Path, image: Path, *options: str) -> Path:
    prototype = image.with_suffix(".proto")
    with prototype.open("wb") as out:
        out.write(b"/dev/null\n0 0\n" + _entry(b"", folder) + b"\n")
        _entries(out.write, folder)
        out.write(b"$\n$\n")
    run("mkfs.xfs", "-q", "-f", *options, "-d", f"name={image},file,size=320m", "-p", prototype)
    return image


def make_ntfs(folder: Path, image: Path, label: str = "System") -> Path:
    """Filled without a mount: the folder is captured as a WIM, and that applied onto the volume."""
    with image.open("wb") as file:
        file.truncate(8 << 20)
    archive = image.with_suffix(".wim")
    run("mkntfs", "-q", "-F", "-L", label, image)
    run("wimcapture", "--unix-data", folder, archive)
    run("wimapply", archive, "1", image)
    return image


def _entry(name: bytes, path: Path) -> bytes:
    found = path.lstat()
    mode = found.st_mode
    kind = {stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFREG: "-"}[stat.S_IFMT(mode)]
    bits = ("u" if mode & 0o4000 else "-") + ("g" if mode & 0o2000 else "-")
    words = f"{kind}{bits}{mode & 0o777:03o} {found.st_uid} {found.st_gid}".encode()
    return name + b" " + words if name else words


def _entries(write: object, folder: Path) -> None:
    assert callable(write)
    for path in sorted(folder.iterdir()):
        line = _entry(os.fsencode(path.name), path)
        if path.is_symlink():
            write(line + b" " + os.fsencode(os.readlink(path)) + b"\n")
        elif path.is_dir():
            write(line + b"\n")
            _entries(write, path)
            write(b"$\n")
        else:
            write(line + b" " + os.fsencode(path) + b"\n")


def differences(filesystem: Filesystem, folder: Path) -> list[str]:
    """Where what the reader says is not what the folder holds."""
    return list(_differences(filesystem, filesystem.root, os.fsencode(folder)))


def _differences(filesystem: Filesystem, node: int, path: bytes) -> Iterator[str]:
    real, said = os.lstat(path), filesystem.stat(node)
    shown = os.fsdecode(path)
    if (said.mode, said.uid, said.gid) != (stat.S_IMODE(real.st_mode), real.st_uid, real.st_gid):
        yield f"{shown}: {said}"
    if stat.S_ISDIR(real.st_mode):
        names = set(filesystem.names(node)) - {"lost+found"}
        if names != {os.fsdecode(name) for name in os.listdir(path)}:
            yield f"{shown}: names"
        for name in os.listdir(path):
            below = filesystem.lookup(node, os.fsdecode(name))
            if below is None:
                yield f"{shown}/{os.fsdecode(name)}: not found"
            else:
                yield from _differences(filesystem, below, path + b"/" + name)
    elif stat.S_ISLNK(real.st_mode):
        if filesystem.readlink(node) != os.fsdecode(os.readlink(path)):
            yield f"{shown}: target"
    else:
        content = Path(shown).read_bytes()
        if said.size != len(content) or filesystem.read(node, 0, len(content) + 10) != content:
            yield f"{shown}: content"
        third = len(content) // 3
        if filesystem.read(node, third, 9000) != content[third : third + 9000]:
            yield f"{shown}: range"


def find(filesystem: Filesystem, path: str) -> int:
    """The node at a path without links."""
    node = filesystem.root
    for name in path.strip("/").split("/"):
        below = filesystem.lookup(node, name)
        assert below is not None, path
        node = below
    return node


def read_everything(filesystem: Filesystem, most: int = 400) -> None:
    """Whatever a check may ask of a filesystem, each question by itself; what is damaged may say so."""
    todo = [(filesystem.root, 0)]
    for _ in range(most):
        if not todo:
            return
        node, depth = todo.pop()
        try:
            kind = filesystem.stat(node).kind
            if kind == "directory" and depth < 8:
                for name in filesystem.names(node)[:100]:
                    below = filesystem.lookup(node, name)
                    if below is not None:
                        todo.append((below, depth + 1))
            elif kind == "symlink":
                filesystem.readlink(node)
            elif kind == "file":
                filesystem.read(node, 0, 200_000)
                filesystem.read(node, 4_000_000, 4096)
        except CannotRead:
            continue


def used_sectors(blocks: Blocks) -> list[int]:
    """The sectors that hold something, those of file contents made by fill() mostly left out."""
    data = blocks.read(0, blocks.size)
    return [
        at
        for at in range(0, len(data), 512)
        if any(sector := data[at : at + 512]) and sum(1 for byte in sector if byte) < 400
    ]
