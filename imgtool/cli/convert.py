"""`imgtool convert`: make another image of an image, verified."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgtool.cli import options
from imgtool.cli.ending import Ended
from imgtool.cli.session import Session
from imgtool.signals import ENDING_SIGNALS
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.convert.engine import Converted

CANCELLED = Text(
    en="imgtool: cancelled; nothing unfinished is left, and the input is as it was.",
    zh="imgtool: 已取消；没有留下未完成的文件，输入文件未改动。",
)
_PATH = click.Path(path_type=Path, readable=False)


@click.command("convert", short_help="Make another image of an image: qcow2, raw, VHD, VMDK.")
@click.argument("source", metavar="IN", type=_PATH)
@click.argument("output", metavar="OUT", type=_PATH)
@click.option(
    "--to",
    metavar="FORMAT",
    help="qcow2, raw, vhd or vmdk; what the suffix of OUT means by default.",
)
@click.option(
    "--compress", is_flag=True, help="Compress the clusters (qcow2), or make a streamOptimized VMDK."
)
@click.option("--compat", metavar="LEVEL", help="qcow2: 1.1 (default), or 0.10 for very old readers.")
@click.option(
    "--subformat",
    metavar="NAME",
    help="vhd: dynamic (default) or fixed. vmdk: monolithicSparse (default) or streamOptimized.",
)
@click.option(
    "--writer",
    type=click.Choice(["imgtool", "qemu-img"]),
    help="What compresses a qcow2: imgtool's own writer (default where it can run) or qemu-img.",
)
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    help="How hard imgtool's writer compresses; 1 by default.",
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, 256),
    help="Threads that compress, or processes (4 at most); one a CPU.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Check the output and compare what it holds with the input.",
)
@click.option("--force", is_flag=True, help="Overwrite OUT, once the new image is complete.")
@options.PROFILE
@click.option(
    "--shrink", is_flag=True, help="Drop what the guest's file systems do not use, on a copy (libguestfs)."
)
@options.language
@options.debug
@click.pass_obj
def command(
    session: Session,
    source: Path,
    output: Path,
    *,
    to: str | None,
    compress: bool,
    compat: str | None,
    subformat: str | None,
    writer: str | None,
    level: int | None,
    threads: int | None,
    verify: bool,
    force: bool,
    profile: str,
    shrink: bool,
) -> int:
    """Make another image of an image. IN is never changed; OUT appears only when complete and verified.

    IN may be qcow2, qcow1, raw, VMDK, VHD, VHDX, VDI, QED, Parallels, or a gzip, xz, bzip2, zstd, tar,
    zip or OVA archive that holds one of them.

    \b
    imgtool convert --compress customer.vmdk image.qcow2
    imgtool convert --subformat fixed disk.qcow2 disk.vhd
    imgtool convert --compress --shrink export.ova image.qcow2

    \b
    Exit code 1: the platform would not take the result, by the profile's limits.
    """
    from imgtool.convert.engine import Request, convert
    from imgtool.convert.progress import shown_on_terminal
    from imgtool.errors import UsageError
    from imgtool.profiles import load_profile

    _require_files(source, output)
    if not compress and (level is not None or threads is not None):
        raise UsageError(
            Text(
                en="--level and --threads are for --compress; without it nothing is compressed.",
                zh="--level 与 --threads 仅用于 --compress；不使用它时不进行压缩。",
            )
        )
    asked = {"compat": compat, "subformat": subformat}
    request = Request(
        to=to,
        compress=compress,
        options={name: value for name, value in asked.items() if value is not None},
        writer=writer,
        verify=verify,
        force=force,
        shrink=shrink,
        level=level or 1,
        threads=threads,
    )
    limits = load_profile(profile)
    try:
        done = convert(source, output, request, limits, shown_on_terminal(session.language))
    except Ended as ended:
        if ended.number in ENDING_SIGNALS:
            _tell(session, CANCELLED)
        raise
    for note in done.notes:
        _tell(session, note)
    _tell(session, _summary(done))
    return 0


def _require_files(source: Path, output: Path) -> None:
    """Refuse "-", which means a stream everywhere else; it would be a file of that name."""
    from imgtool.errors import UsageError

    if str(source) == "-":
        raise UsageError(
            Text(
                en="- is no image: one is read at random, so standard input can't be one. "
                "Save it to a file first.",
                zh="- 不是镜像：镜像需要随机读取，不能来自标准输入。请先保存为文件。",
            )
        )
    if str(output) == "-":
        raise UsageError(
            Text(
                en="- is no output: an image is written at random, so it can't go to standard output. "
                "Give a file.",
                zh="- 不能作为输出：镜像需要随机写入，不能写到标准输出。请指定文件。",
            )
        )


def _tell(session: Session, text: Text) -> None:
    """On stderr, where somebody reads it: the image is what it is also when that is closed or full."""
    from imgtool.report.visible import visible

    with suppress(OSError):
        click.echo(visible(session.say(text)), err=True)


def _summary(done: Converted) -> Text:
    from imgtool.convert.output import shown
    from imgtool.disk.commands import byte_count

    path = shown(done.path)
    kind = f"{done.format} ({done.variant})" if done.variant else done.format
    disk, file, space = map(byte_count, (done.virtual_size, done.file_size, done.allocated))
    digest = f" SHA-256: {done.sha256}." if done.sha256 else ""
    return Text(
        en=f"{path}: {kind}, disk of {disk}, file of {file}, takes {space} on storage; "
        f"{'verified' if done.verified else 'not verified'}, {done.duration_s:.1f} s.{digest}",
        zh=f"{path}：{kind}，磁盘容量 {disk}，文件大小 {file}，实际占用 {space}；"
        f"{'已校验' if done.verified else '未校验'}，耗时 {done.duration_s:.1f} 秒。{digest}",
    )
