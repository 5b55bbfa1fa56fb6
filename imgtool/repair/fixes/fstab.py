"""fstab: lines that wait for what is not there commented out, devices named by what stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imgtool.checks.btrfs import absent_subvolume
from imgtool.checks.fstab import PATH
from imgtool.guest import fstab_lines as lines
from imgtool.guest.tree import shown
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.fstab import FstabEntry
    from imgtool.guest.linux import LinuxGuest

NOTE = "# imgtool: not on this image, commented out: "


def with_lines(text: str, changed: dict[int, str | None]) -> str:
    """The text with some of its lines (counted from 1) other ones, or (None) commented out."""
    lines = text.split("\n")
    for number, line in changed.items():
        end = "\r" if lines[number - 1].endswith("\r") else ""
        lines[number - 1] = (NOTE + lines[number - 1].strip() if line is None else line) + end
    return "\n".join(lines)


def change(work: Work, changed: dict[int, str | None], more: str = "") -> None:
    """Write the lines, and another at the end, into the guest's fstab. Raises CannotMend for a link."""
    if work.draft.tree.lstat(PATH).kind == "symlink":
        real = work.draft.tree.realpath(PATH)
        raise CannotMend(
            Text(
                en=f"{PATH} is a link to {shown(real)}, perhaps by mistake: make it a file first.",
                zh=f"{PATH} 是指向 {shown(real)} 的链接，可能有误：请先将其改为普通文件。",
            )
        )

    def with_all(text: str) -> str:
        text = with_lines(text, changed)
        return f"{text.rstrip(chr(10))}\n{more}\n".lstrip("\n") if more else text

    work.draft.edit(PATH, with_all)


@fix("linux.fstab.data-disk")
def comment_out(work: Work) -> None:
    """The lines of other disks become comments."""
    change(work, dict.fromkeys((entry.line for entry in lines.of_other_disks(work.guest)), None))


@fix("linux.fstab.device-names")
def name_by_uuid(work: Work) -> None:
    """The names of this disk become UUIDs (/dev/mapper names for logical volumes)."""
    from imgtool.guest.devices import best_name

    guest = work.guest
    changed: dict[int, str | None] = {}
    unknown: list[FstabEntry] = []
    for entry in guest.fstab:
        if entry.problems or not lines.by_passing_name(guest, entry):
            continue
        there = guest.root.volume if entry.mount_point == "/" else lines.resolved(guest, entry)
        name = best_name(there) if there is not None else None
        if name is not None:
            changed[entry.line] = lines.line_of(entry, name)
        elif entry.mandatory or entry.is_swap:
            unknown.append(entry)
    change(work, changed)
    if unknown and not changed:
        raise CannotMend(
            Text(
                en=f"What line {unknown[0].line} of fstab means is not on this disk, or not to be told.",
                zh=f"无法确定 fstab 第 {unknown[0].line} 行所指的设备。",
            )
        )


@fix("linux.fstab")
def mend_lines(work: Work) -> None:
    """Lines that can't be read, and lines for what is not on this image."""
    guest = work.guest
    changed = dict(_lines(guest))
    lacking = lines.lacks_root_line(guest)
    right = lines.right_root_line(guest)
    change(work, changed, right if lacking and right else "")


def _lines(guest: LinuxGuest) -> Iterator[tuple[int, str | None]]:
    """What becomes of which line; None: a comment."""
    for entry in guest.fstab:
        if entry.problems or entry.remarks:
            yield entry.line, lines.mended_line(guest, entry)
    wrong, doubled = lines.wrong_root_lines(guest)
    right = lines.right_root_line(guest)
    for entry in wrong[:1]:
        yield entry.line, right
    yield from _commented((*wrong[1:], *doubled))
    for entry in lines.absent(guest):
        yield entry.line, lines.line_instead(guest, entry)
    yield from _commented(lines.host_shares(guest))
    yield from _commented(it for it in guest.fstab if _is_on_no_subvolume(guest, it))


def _is_on_no_subvolume(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """The line mounts a subvolume that its btrfs does not have; the root's own line is left alone."""
    if entry.problems or entry.mount_point == "/":
        return False
    judged = absent_subvolume(guest, entry)
    return judged is not None and judged.kind == "broken"


def _commented(entries: Iterable[FstabEntry]) -> Iterator[tuple[int, None]]:
    return ((entry.line, None) for entry in entries)
