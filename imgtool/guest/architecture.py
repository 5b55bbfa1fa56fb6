"""What a guest's programs were built for, from their ELF headers (e_machine) and not from names."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

# what every Linux root has, in the order in which it must run: the first program, a shell, a package's tool
PROGRAMS = (
    "/sbin/init",
    "/usr/lib/systemd/systemd",
    "/lib/systemd/systemd",
    "/bin/sh",
    "/bin/bash",
    "/usr/bin/env",
    "/bin/mount",
    "/usr/bin/ls",
    "/bin/ls",
    "/sbin/agetty",
)
_MACHINES = {
    0x03: "i386",
    0x08: "mips",
    0x14: "ppc",
    0x15: "ppc64",
    0x16: "s390x",
    0x28: "arm",
    0x3E: "x86_64",
    0xB7: "arm64",
    0xF3: "riscv64",
    0x102: "loongarch64",
}


@dataclass(frozen=True)
class Program:
    """One program of the guest and what it runs on: x86_64, i386, arm64, or another name ("machine 94")."""

    path: str
    architecture: str


def elf_architecture(header: bytes) -> str | None:
    """The architecture in the first 20 bytes of an ELF file; None when it is no ELF file."""
    if len(header) < 20 or header[:4] != b"\x7fELF" or header[5] not in (1, 2):
        return None
    (machine,) = struct.unpack_from("<H" if header[5] == 1 else ">H", header, 18)
    name = _MACHINES.get(machine, f"machine {machine}")
    if name == "x86_64" and header[4] == 1:
        return "x32"
    if name == "ppc64" and header[5] == 1:
        return "ppc64le"
    return name


def read_programs(tree: Tree) -> tuple[Program, ...]:
    """The programs of PROGRAMS that are there and are ELF files; scripts are passed over."""
    found: list[Program] = []
    for path in PROGRAMS:
        if not tree.is_file(path):
            continue
        with tree.open(path) as file:
            architecture = elf_architecture(file.read(20))
        if architecture is not None:
            found.append(Program(path, architecture))
        if len(found) == 3:  # three independent programs are proof enough
            break
    return tuple(found)


def read_architecture(tree: Tree) -> str:
    """What the first program that the kernel starts was built for. Raises CannotRead where none is found."""
    programs = read_programs(tree)
    if not programs:
        raise CannotRead(
            Text(
                en="None of the basic programs (/sbin/init, /bin/sh, /bin/ls) is there as an ELF file.",
                zh="系统的基本程序（/sbin/init、/bin/sh、/bin/ls）均不存在或不是 ELF 文件。",
            )
        )
    return programs[0].architecture
