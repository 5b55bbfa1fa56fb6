"""Converting one image: the order in which everything happens, and what stops it.

Look at the output's place and sweep what killed runs left there, unpack, probe, hold against the limits, see
whether there is room, shrink, convert, verify, see that the input is still the same, and only then give the
output its name. What stops it on the way leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from imgtool.convert.archives import ARCHIVES, unpack
from imgtool.convert.converter import Converter, Job, Made, OverLimit, choose, discover, require_actual
from imgtool.convert.output import Output, shown, write_failed
from imgtool.convert.progress import Progress, Silent
from imgtool.convert.unchanged import Moment
from imgtool.convert.verify import blocks_of, look, verify
from imgtool.disk.commands import QEMU_NAMES, byte_count
from imgtool.disk.probe import probe
from imgtool.errors import CannotRead, ImgtoolError, UsageError
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.profiles import Profile

NESTED_ARCHIVES = 3
LOOK_EVERY = 0.5  # seconds between looks at the input and at the size of the output
HARMLESS = ("trailing_bytes",)  # damage that is serious to an importer and of no consequence to a reader

UNPACKING = Text("Unpacking", "解压")
SHRINKING = Text("Copying to shrink", "复制以精简")
CONVERTING = Text("Converting", "转换")
VERIFYING = Text("Verifying", "校验")


@dataclass(frozen=True)
class Request:
    """What to make. to: a converter's name, None for what the output's suffix means.

    options: of the converter. writer: None for the converter's own choice. level: of compression, by our own
    writer. threads: None for one a CPU. over_input: the output may take the input's name, once complete.
    """

    to: str | None = None
    compress: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    writer: str | None = None
    verify: bool = True
    force: bool = False
    shrink: bool = False
    level: int = 1
    threads: int | None = None
    over_input: bool = False


@dataclass(frozen=True)
class Converted:
    """What was made. Sizes in bytes; allocated: on storage. sha256, crc64: where the writer computed them.

    notes: what a person should know of it. duration_s: of the whole.
    """

    path: Path
    format: str
    variant: str | None
    virtual_size: int
    file_size: int
    allocated: int
    source_format: str
    writer: str
    verified: bool
    duration_s: float
    sha256: str | None = None
    crc64: int | None = None
    notes: tuple[Text, ...] = ()


def convert(
    source: Path,
    output: Path,
    request: Request,
    profile: Profile,
    progress: Progress | None = None,
    *,
    change: Callable[[ImageFile, Path, Progress], ImageFile] | None = None,
) -> Converted:
    """Convert an image file to another file.

    change: makes another image of it first, in a folder that goes away afterwards (imgtool.repair).
    Raises UsageError (the output's place, the options), CannotRead (the input: UnsafeImage, InputChanged and
    Bomb among them), OverLimit (the profile's limits), NoRoom, NotVerified, MachineLacks, CommandFailed. The
    input is never written to, and nothing is at the output's name unless it is complete.
    """
    began = monotonic()
    progress = progress or Silent()
    converter, settings = _settled(request, output)
    before = Moment.of([source])
    first = probe(source)
    before = Moment((*before.states, *Moment.of(first.other_files).states))
    if first.format not in ARCHIVES:  # of an archive, what is inside is judged
        first = _sized(first)
        _require_convertible(first, profile, Text.same(shown(source)))
    try:
        kept = [*([] if request.over_input else [source]), *first.other_files]
        with Output(output, force=request.force, inputs=kept) as out:
            file = _unpacked(first, out.folder, profile, progress, before)
            notes = list(_notes(file))
            _require_room(file, out.target.parent, request)
            if change is not None:
                file = change(file, out.folder, progress)
                before.check()
            if request.shrink:
                file, more = _shrunk(file, out.folder, progress, before)
                notes += more
            job = Job(
                source=file,
                out=out.part,
                options=settings,
                compress=request.compress,
                writer=request.writer,
                level=request.level,
                threads=request.threads,
                limit=profile.image.max_actual_size,
            )
            made, written = _made(converter, job, output, progress, before)
            if request.verify:
                verify(converter, job, _vigil(VERIFYING, job, progress, before))
            before.check()
            out.publish()
    except ImgtoolError:
        before.check()  # an input that changed is why anything else is wrong
        raise
    finally:
        progress.end()
    return Converted(
        path=output,
        format=converter.name,
        variant=made.variant if made.format == converter.name else None,
        virtual_size=made.virtual_size or 0,
        file_size=made.file_size,
        allocated=made.allocated,
        source_format=first.format,
        writer=written.writer,
        verified=request.verify,
        duration_s=monotonic() - began,
        sha256=written.sha256,
        crc64=written.crc64,
        notes=tuple(notes),
    )


def _settled(request: Request, output: Path) -> tuple[Converter, dict[str, str]]:
    """The converter and its options. Raises UsageError for what does not go together."""
    converter = choose(request.to, output, discover())
    if request.compress and not converter.compresses:
        raise UsageError(
            Text(
                en=f"{converter.name} has no compression. Leave --compress out, or choose qcow2.",
                zh=f"{converter.name} 格式不支持压缩。请去掉 --compress，或选择 qcow2。",
            )
        )
    if request.writer is not None and request.writer not in converter.writers:
        raise UsageError(
            Text(
                en=f"--writer {request.writer} does not write {converter.name}; there are: "
                f"{', '.join(converter.writers)}.",
                zh=f"--writer {request.writer} 不能写 {converter.name} 格式；可选："
                f"{', '.join(converter.writers)}。",
            )
        )
    return converter, converter.settings(request.options)


class _Vigil:
    """Told how far the work is; shows it, and stops it as soon as it can't end well."""

    def __init__(
        self, progress: Progress, before: Moment, out: Path | None = None, limit: int | None = None
    ) -> None:
        self._progress, self._before, self._out, self._limit = progress, before, out, limit
        self._next_look = 0.0

    def at(self, done: int) -> None:
        self._progress.at(done)
        now = monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_EVERY
        self._before.check()
        if self._out is not None and self._limit is not None and self._out.exists():
            require_actual(self._out.stat().st_blocks * 512, self._limit)


def _unpacked(
    file: ImageFile, folder: Path, profile: Profile, progress: Progress, before: Moment
) -> ImageFile:
    """The image in an archive, probed; or the image itself."""
    depth, source = 0, file.path
    while file.format in ARCHIVES:
        if depth == NESTED_ARCHIVES:
            raise CannotRead(
                Text(
                    en=f"{shown(file.path)} is an archive in an archive, too many times over. Unpack it.",
                    zh=f"{shown(file.path)} 是多层嵌套的压缩包。请先解压。",
                )
            )
        progress.begin(UNPACKING, None)
        # a disk of the largest size, and the tables of whatever format it is in
        limit = profile.image.max_virtual_size + profile.image.max_virtual_size // 64 + (64 << 20)
        inner = folder / f"unpacked-{depth}"
        unpack(file, inner, limit, _Vigil(progress, before).at)
        before.check()
        if depth:
            file.path.unlink()
        file = probe(inner)
        depth += 1
    if depth:
        file = _sized(file)
        inside = Text(en=f"What is in {shown(source)}", zh=f"{shown(source)} 中的文件")
        _require_convertible(file, profile, inside)
    return file


def _sized(file: ImageFile) -> ImageFile:
    """With the size of the disk, which QEMU is asked for where the probe does not know the format so well."""
    if file.virtual_size is None and file.format in QEMU_NAMES and not file.hazards:
        with blocks_of(file) as blocks:
            return replace(file, virtual_size=blocks.size)
    return file


def _require_convertible(file: ImageFile, profile: Profile, name: Text) -> None:
    """Raise unless QEMU may open the image, it is whole, and the platform takes a disk of its size.

    name: what the person knows it by.
    """
    from imgtool.convert.qemu_img import reading
    from imgtool.disk.refusal import lacking_files

    if file.format not in QEMU_NAMES and not file.hazards:
        raise CannotRead(
            Text(
                en=f"{name.en} is {file.format}, which is no disk image. Give an image, or an archive "
                "(gzip, xz, "
                "bzip2, zstd, tar, zip, OVA) of one.",
                zh=f"{name.zh} 为 {file.format} 格式，不是磁盘镜像。请指定镜像，"
                "或含有一个镜像的压缩包（gzip、xz、bzip2、zstd、tar、zip、OVA）。",
            )
        )
    reading(file)
    if (lacking := lacking_files(file)) is not None:
        raise CannotRead(lacking)
    for damage in file.damage:
        if damage.serious and damage.check not in HARMLESS:
            raise CannotRead(
                Text(
                    en=f"{name.en} is damaged, and a conversion would hide that. {damage.statement.en}",
                    zh=f"{name.zh} 已损坏，转换会掩盖这一问题。{damage.statement.zh}",
                )
            )
    if file.virtual_size == 0 or file.file_size == 0:
        raise CannotRead(
            Text(
                en=f"{name.en} is empty: a disk of 0 bytes can't be converted.",
                zh=f"{name.zh} 为空：无法转换 0 字节的磁盘。",
            )
        )
    limit = profile.image.max_virtual_size
    if file.virtual_size is not None and file.virtual_size > limit:
        raise OverLimit(
            Text(
                en=f"The disk has {byte_count(file.virtual_size)}, and profile {profile.name} takes up to "
                f"{byte_count(limit)} (InvalidFormatSize). Make the disk smaller first; a profile of "
                "your own "
                "(--profile FILE) may allow more.",
                zh=f"磁盘容量为 {byte_count(file.virtual_size)}，超出配置 {profile.name} 的上限 "
                f"{byte_count(limit)}"
                "（InvalidFormatSize）。请先缩小磁盘；如目标环境允许更大容量，可用 --profile 文件 指定。",
            )
        )


def _require_room(file: ImageFile, folder: Path, request: Request) -> None:
    from imgtool.convert.space import require

    require(file, folder, compress=request.compress, copies=int(request.shrink))


def _shrunk(
    file: ImageFile, folder: Path, progress: Progress, before: Moment
) -> tuple[ImageFile, tuple[Text, ...]]:
    from imgtool.convert.shrink import shrink

    progress.begin(SHRINKING, file.virtual_size)
    copy = folder / "shrunk.qcow2"
    notes = shrink(file, copy, _Vigil(progress, before).at)
    before.check()
    return probe(copy), notes


def _made(
    converter: Converter, job: Job, out: Path, progress: Progress, before: Moment
) -> tuple[ImageFile, Made]:
    """Run the converter and look at what it made; `out` is what the person calls it."""
    try:
        written = converter.convert(replace(job, at=_vigil(CONVERTING, job, progress, before)))
    except OSError as error:
        raise write_failed(out, error) from error
    made = look(converter, job)
    _vigil(CONVERTING, job, progress, before)(job.source.virtual_size or 0)
    return made, written


def _vigil(title: Text, job: Job, progress: Progress, before: Moment) -> Callable[[int], None]:
    progress.begin(title, job.source.virtual_size)
    return _Vigil(progress, before, job.out, job.limit).at


def _notes(file: ImageFile) -> list[Text]:
    """What gets lost or is doubtful, without being a reason to refuse."""
    notes = [damage.statement for damage in file.damage]
    if file.snapshots:
        named = ", ".join(file.snapshots[:5])
        notes.append(
            Text(
                en=f"Internal snapshots were left behind: {named}. The output is the disk as it is now.",
                zh=f"未保留内部快照：{named}。输出为磁盘的当前状态。",
            )
        )
    return notes
