"""What keeps modules from being loaded, held against kmod itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.guest.initramfs import Initramfs
from imgtool.guest.module_blocks import Block, in_text, of_arguments, of_initramfs, of_root
from tests.guest.memory_tree import MemoryTree

PATH = "/etc/modprobe.d/x.conf"
# A kernel of this machine whose virtio_blk is a module, for kmod to go by
HOST = [
    path.parent.name
    for path in Path("/lib/modules").glob("*/modules.alias.bin")
    if "/virtio_blk.ko" in (path.parent / "modules.dep").read_text()
]
DEVICE = "virtio:d00000002v00001AF4"  # as udev asks for the driver of a virtio disk


def blocked(text: str) -> set[tuple[str, bool]]:
    return {(it.module, it.refused) for it in in_text(text, PATH)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("blacklist virtio_blk\n", {("virtio_blk", False)}),
        ("  blacklist\tvirtio-blk", {("virtio_blk", False)}),
        ("install virtio_blk /bin/false\n", {("virtio_blk", True)}),
        ("install virtio-net /usr/bin/true\n", {("virtio_net", True)}),
        ("install virtio_blk /sbin/modprobe --ignore-install virtio_blk && echo\n", set()),
        ("# blacklist virtio_blk\n#\\\nblacklist virtio_blk\n", set()),
        ("black\\\nlist virtio_blk\n", {("virtio_blk", False)}),
        ("options virtio_blk queue_depth=1\nsoftdep virtio_blk pre: x\nblacklist\n", set()),
        ("blacklist virtio_blk\r\n", {("virtio_blk\r", False)}),
    ],
)
def test_lines_that_keep_a_module_back(text: str, found: set[tuple[str, bool]]) -> None:
    assert blocked(text) == found


def test_the_line_is_named() -> None:
    (block,) = in_text("# a\n# b\\\n# c\ninstall virtio_blk /bin/false\n", PATH)
    assert block.source == f"{PATH}:4: install virtio_blk /bin/false"


WORDS = ["blacklist", "install", "options", "#", "virtio_blk", "virtio-blk", "virtio_net", "virtio_ring"]
WORDS += ["/bin/false", "/bin/true", "/sbin/modprobe", "\\", " ", "\t", "  ", "\r"]
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(["blacklist virtio_blk", "blacklist virtio-blk ", "install virtio_blk /bin/false"]),
        st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join),
        st.lists(st.sampled_from(WORDS), max_size=5).map("".join),
    ),
    max_size=5,
).map("\n".join)


@pytest.mark.skipif(not HOST, reason="no kernel here has virtio_blk as a module")
@given(text=TEXTS)
def test_kmod_keeps_back_what_we_say_it_does(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("kmod") / "x.conf"
    file.write_text(text + "\n")
    command = ["/usr/sbin/modprobe", "-nvb", "-C", str(file), "-S", HOST[0], DEVICE]
    said = subprocess.run(command, capture_output=True, check=False).stdout.decode().splitlines()
    inserted = any(line.startswith("insmod") and "virtio_blk.ko" in line for line in said)
    kinds = {refused for module, refused in blocked(text) if module == "virtio_blk"}
    own = [line for line in said if line.startswith("install")]
    if True in kinds and False not in kinds:
        assert not inserted
        assert own
    elif False in kinds:
        assert not inserted
    elif not own:  # else an `install` line of another kind, which may load it or not
        assert inserted


@pytest.mark.parametrize(
    ("arguments", "maker", "found"),
    [
        ("module_blacklist=virtio_blk,floppy", "unknown", [("virtio_blk", True), ("floppy", True)]),
        ("module_blacklist=virtio_blk module_blacklist=floppy", "unknown", [("floppy", True)]),
        ("modprobe.blacklist=virtio-blk", "unknown", [("virtio_blk", False)]),
        ("rd.driver.blacklist=virtio_blk", "dracut", [("virtio_blk", False)]),
        ("rdblacklist=virtio_blk", "dracut", [("virtio_blk", False)]),
        ("rd.driver.blacklist=virtio_blk", "initramfs-tools", []),
        ("blacklist=virtio_blk,x", "initramfs-tools", [("virtio_blk", False), ("x", False)]),
        ("blacklist=virtio_blk quiet", "dracut", []),
    ],
)
def test_arguments_that_keep_a_module_back(arguments: str, maker: str, found: list[tuple[str, bool]]) -> None:
    said = of_arguments(arguments, maker)  # type: ignore[arg-type]
    assert [(it.module, it.refused) for it in said] == found


def test_behind_the_initramfs_its_own_arguments_no_longer_count() -> None:
    words = "rd.driver.blacklist=virtio_net modprobe.blacklist=virtio_net"
    assert [it.source for it in of_arguments(words, "dracut", in_root=True)] == [
        "modprobe.blacklist=virtio_net"
    ]


def test_a_file_in_etc_hides_one_of_its_name_in_lib() -> None:
    files = {
        "/lib/modprobe.d/virt.conf": "blacklist virtio_net\n",
        "/lib/modprobe.d/b.conf": "blacklist virtio_blk\n",
        "/lib/modprobe.d/no-suffix": "blacklist virtio_pci\n",
        "/etc/modprobe.d/virt.conf": "",
    }
    assert [it.module for it in of_root(MemoryTree(files))] == ["virtio_blk"]
    inside = Initramfs({}, settings={path[1:]: text.encode() for path, text in files.items()})
    assert list(of_initramfs(inside, "/boot/i")) == [
        Block(
            "virtio_blk",
            False,
            "/boot/i: lib/modprobe.d/b.conf:1: blacklist virtio_blk",
            "/boot/i: lib/modprobe.d/b.conf",
        )
    ]
