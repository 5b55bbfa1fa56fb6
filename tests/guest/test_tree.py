from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed, LinkLoop, NotInGuest, Stat, TooLarge
from imgtool.guest.tree import Tree
from imgtool.text import Text


@dataclass
class Link:
    target: str


@dataclass
class Sparse:
    size: int


@dataclass
class Damaged:
    pass


@dataclass
class Files:
    """A filesystem of nested dicts."""

    content: dict[str, Any]
    case_sensitive: bool = True
    type: str = "ext4"
    uuid: str = ""
    label: str = ""
    root: int = 0
    nodes: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes.append(self.content)

    def lookup(self, directory: int, name: str) -> int | None:
        found = self.nodes[directory]
        if isinstance(found, Damaged):
            raise GuestReadFailed(Text.same("damaged"))
        if not self.case_sensitive:
            found = {key.upper(): value for key, value in found.items()}
            name = name.upper()
        if name not in found:
            return None
        self.nodes.append(found[name])
        return len(self.nodes) - 1

    def names(self, directory: int) -> list[str]:
        if isinstance(self.nodes[directory], Damaged):
            raise GuestReadFailed(Text.same("damaged"))
        return list(self.nodes[directory])

    def stat(self, node: int) -> Stat:
        found = self.nodes[node]
        kind = {dict: "directory", Damaged: "directory", Link: "symlink"}.get(type(found), "file")
        size = found.size if isinstance(found, Sparse) else len(found) if isinstance(found, bytes) else 0
        return Stat(kind, 0o644, 0, 0, size, 0.0)  # type: ignore[arg-type]

    def readlink(self, node: int) -> str:
        return str(self.nodes[node].target)

    def read(self, node: int, offset: int, length: int) -> bytes:
        assert not isinstance(self.nodes[node], Sparse), "a file of this size must not be read"
        return bytes(self.nodes[node][offset : offset + length])


def tree(**content: Any) -> Tree:
    return Tree(Files(content), None)  # type: ignore[arg-type]


ROOT = tree(
    etc={
        "os-release": Link("../usr/lib/os-release"),
        "absolute": Link("/usr/lib/os-release"),
        "outside": Link("../../../../../../etc/passwd"),
        "passwd": b"the guest's own",
        "self": Link("self"),
        "here": Link("there"),
        "there": Link("here"),
        "folder": Link("/usr/lib"),
        "dangling": Link("/nowhere"),
        ".hidden": b"",
        "odd\nname": b"odd",
        "dos": b"\xef\xbb\xbfa=1\r\nb=\xff\r\n",
    },
    usr={"lib": {"os-release": b"ID=debian\n", "x1.conf": b"", "x2.conf": b"", "[x].conf": b""}},
    bad=Damaged(),
    empty={},
)


@pytest.mark.parametrize(
    "path", ["/etc/os-release", "/etc/absolute", "/etc/folder/os-release", "/etc/../etc/./absolute"]
)
def test_links_lead_to_files_inside_the_guest(path: str) -> None:
    assert ROOT.read(path) == b"ID=debian\n"
    assert ROOT.realpath(path) == "/usr/lib/os-release"


def test_no_link_leaves_the_guest() -> None:
    assert ROOT.read("/etc/outside") == b"the guest's own"
    assert ROOT.read("/../../etc/passwd") == b"the guest's own"


@pytest.mark.parametrize("path", ["/etc/self", "/etc/here", "/etc/there/x"])
def test_links_in_a_circle_are_named_as_such(path: str) -> None:
    with pytest.raises(LinkLoop, match="40 symbolic links"):
        ROOT.read(path)
    assert not ROOT.exists(path)


def test_forty_links_are_followed_and_one_more_is_not() -> None:
    chain = {f"l{number}": Link(f"l{number - 1}") for number in range(1, 42)}
    linked = tree(l0=b"end", **chain)
    assert linked.read("/l40") == b"end"
    with pytest.raises(LinkLoop):
        linked.read("/l41")


def test_a_link_is_seen_as_itself_by_lstat_and_readlink() -> None:
    assert ROOT.lstat("/etc/dangling").kind == "symlink"
    assert ROOT.readlink("/etc/dangling") == "/nowhere"
    assert not ROOT.exists("/etc/dangling")
    with pytest.raises(NotInGuest, match="no symbolic link"):
        ROOT.readlink("/etc/passwd")


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/etc/passwd/x", "/etc/passwd/", "/empty/x", "/" + "n" * 256, "/" + "d/" * 3000, "/\ud800"],
)
def test_what_is_not_there_is_not_in_the_guest(path: str) -> None:
    with pytest.raises(NotInGuest):
        ROOT.read(path)
    assert not ROOT.exists(path)
    assert ROOT.text_if_there(path) is None


def test_a_directory_is_no_file_and_a_file_no_directory() -> None:
    with pytest.raises(NotInGuest, match="no regular file"):
        ROOT.read("/etc")
    with pytest.raises(NotInGuest, match="no directory"):
        ROOT.list("/etc/passwd")
    assert (ROOT.is_dir("/etc"), ROOT.is_file("/etc"), ROOT.is_file("/etc/folder/os-release")) == (
        True,
        False,
        True,
    )


def test_what_lies_in_a_damaged_directory_is_neither_there_nor_absent() -> None:
    for ask in (ROOT.exists, ROOT.is_file, ROOT.read, ROOT.text_if_there):
        with pytest.raises(GuestReadFailed, match="/bad/file"):
            ask("/bad/file")
    with pytest.raises(GuestReadFailed, match="/bad"):
        ROOT.list("/bad")


def test_a_file_of_ten_gigabytes_is_refused_by_its_size() -> None:
    large = tree(etc={"os-release": Sparse(10 << 30)})
    with pytest.raises(TooLarge, match="10737418240"):
        large.read("/etc/os-release")
    with pytest.raises(TooLarge):
        large.text_if_there("/etc/os-release")


def test_text_has_no_byte_order_mark_and_no_carriage_returns() -> None:
    assert ROOT.text("/etc/dos") == "a=1\nb=\ufffd\n"


def test_a_stream_reads_and_seeks_as_a_file() -> None:
    content = bytes(range(256)) * 5000
    stream = tree(initrd=content).open("/initrd")
    real = io.BytesIO(content)
    for offset, whence, length in ((0, 0, 10), (-5, 2, 10), (100, 1, 3), (300_000, 0, 400_000), (5, 0, -1)):
        assert stream.seek(offset, whence) == real.seek(offset, whence)
        assert stream.read(length) == real.read(length)


def test_a_pattern_matches_within_one_component() -> None:
    assert ROOT.glob("/usr/lib/*.conf") == ["/usr/lib/[x].conf", "/usr/lib/x1.conf", "/usr/lib/x2.conf"]
    assert ROOT.glob("/e*/folder/x?.conf") == ["/etc/folder/x1.conf", "/etc/folder/x2.conf"]
    assert ROOT.glob("/usr/lib/x[2-9].conf") == ["/usr/lib/x2.conf"]
    assert ROOT.glob("/etc/dang*") == ["/etc/dangling"]
    assert ROOT.glob("/etc/*hidden") == []
    assert ROOT.glob("/etc/.h*") == ["/etc/.hidden"]
    assert ROOT.glob("/nowhere/*") == []
    assert ROOT.glob("/etc/odd*") == ["/etc/odd\nname"]


def test_a_name_with_a_line_break_is_shown_escaped() -> None:
    with pytest.raises(NotInGuest, match=r"odd\\nname/x"):
        ROOT.read("/etc/odd\nname/x")


def test_a_mount_covers_the_directory_it_lies_on() -> None:
    mounted = tree(boot={"hidden": b""}, etc={"boot": Link("/boot")}, sub={})
    boot = Files({"vmlinuz": b"kernel", "up": Link("../etc")})
    mounted.mount("/etc/boot", boot, "the boot volume")  # type: ignore[arg-type]
    mounted.mount("/sub/efi", Files({"EFI": {}}), "the ESP")  # type: ignore[arg-type]
    assert mounted.read("/boot/vmlinuz") == mounted.read("/etc/boot/vmlinuz") == b"kernel"
    assert not mounted.exists("/boot/hidden")
    assert mounted.is_dir("/boot/up")
    assert mounted.list("/sub") == ["efi"]
    assert mounted.mounts["/boot"] == "the boot volume"


def test_below_a_mount_that_cannot_be_read_nothing_is_said_to_be_absent() -> None:
    mounted = tree(usr={}, bin=Link("usr/bin"))
    mounted.mount_unreadable("/usr", CannotRead(Text.same("btrfs.")))
    for path in ("/usr", "/usr/lib/os-release", "/bin/sh"):
        with pytest.raises(GuestReadFailed, match=r"mounted at /usr.*btrfs"):
            mounted.exists(path)


def test_where_case_does_not_matter_patterns_ignore_it_too() -> None:
    windows = Tree(Files({"Windows": {"A.LOG": b"", "b.log": b""}}, case_sensitive=False), None)  # type: ignore[arg-type]
    assert windows.is_dir("/WINDOWS")
    assert windows.glob("/windows/*.log") == ["/windows/A.LOG", "/windows/b.log"]
