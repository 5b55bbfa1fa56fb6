"""The whole of a conversion: what is refused before, what stops it on the way, and what is left then."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from imgtool.convert import engine, qemu_img, space
from imgtool.convert.converter import Converter, Job, Made
from imgtool.convert.engine import OverLimit, Request, convert
from imgtool.convert.output import PREFIX, NoRoom, OutputRefused
from imgtool.convert.unchanged import InputChanged
from imgtool.convert.unpacking import Bomb
from imgtool.convert.verify import NotVerified
from imgtool.disk.probe import probe
from imgtool.errors import CannotRead, ImgtoolError, UnsafeImage, UsageError
from imgtool.process import CommandFailed
from imgtool.profiles import Profile, load_profile
from imgtool.text import Text
from tests.disk.formats.images import create, disk, overwrite, qemu_io, shorten
from tests.disk.formats.images import qemu_img as run_qemu_img

TCE = load_profile("tce")


def limited(**limits: int) -> Profile:
    return replace(TCE, image=replace(TCE.image, **limits))


def content(path: Path, qemu_format: str, folder: Path) -> bytes:
    """What QEMU reads of an image."""
    raw = folder / "content.raw"
    run_qemu_img("convert", "-f", qemu_format, "-O", "raw", path, raw)
    data = raw.read_bytes()
    raw.unlink()
    return data


def nothing_is_left(folder: Path, *files: str) -> bool:
    return sorted(os.listdir(folder)) == sorted(files)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return disk(tmp_path / "disk.raw")


def test_a_conversion_says_what_it_made(tmp_path: Path, raw: Path) -> None:
    done = convert(raw, tmp_path / "out.qcow2", Request(), TCE)
    assert (done.format, done.source_format, done.writer, done.verified) == ("qcow2", "raw", "qemu-img", True)
    assert done.virtual_size == raw.stat().st_size
    assert content(tmp_path / "out.qcow2", "qcow2", tmp_path) == raw.read_bytes()
    assert nothing_is_left(tmp_path, "disk.raw", "out.qcow2")


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("out.qcow2", {"compat": "0.10"}, ("qcow2", "v2")),
        ("out.vhd", {}, ("vhd", "dynamic")),
        ("out.vhd", {"subformat": "fixed"}, ("vhd", "fixed")),
        ("out.vmdk", {}, ("vmdk", "monolithicSparse")),
        ("out.vmdk", {"subformat": "streamOptimized"}, ("vmdk", "streamOptimized")),
        ("out.img", {}, ("raw", None)),
    ],
)
def test_the_suffix_and_the_options_decide_what_is_made(
    tmp_path: Path, raw: Path, name: str, options: dict[str, str], expected: tuple[str, str | None]
) -> None:
    convert(raw, tmp_path / name, Request(options=options), TCE)
    made = probe(tmp_path / name)
    assert (made.format, made.variant) == expected
    assert made.virtual_size == raw.stat().st_size
    assert made.damage == ()


@pytest.mark.parametrize("qemu_format", ["vhdx", "vdi", "qed", "qcow", "parallels"])
def test_formats_that_the_platform_refuses_can_be_left(tmp_path: Path, qemu_format: str) -> None:
    raw = disk(tmp_path / "disk.raw", size=4 * 1024**2)
    source = tmp_path / "source"
    run_qemu_img("convert", "-f", "raw", "-O", qemu_format, raw, source)
    done = convert(source, tmp_path / "out.raw", Request(), TCE)
    assert done.source_format == qemu_format
    assert (tmp_path / "out.raw").read_bytes()[: raw.stat().st_size] == raw.read_bytes()


def test_a_vmdk_in_pieces_becomes_one_file(tmp_path: Path, raw: Path) -> None:
    run_qemu_img(
        "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", raw, tmp_path / "a.vmdk"
    )
    convert(tmp_path / "a.vmdk", tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()


def test_a_vhd_of_an_unknown_creator_keeps_the_size_of_its_footer(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", size=10 * 1024**2 + 512)
    vhd = tmp_path / "a.vhd"
    run_qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", raw, vhd)
    data = bytearray(vhd.read_bytes())
    for at in (0, len(data) - 512):
        footer = data[at : at + 512]
        footer[28:32] = b"vbox"
        footer[56:60] = b"\x00\x10\x04\x11"  # 16 cylinders, 4 heads, 17 sectors
        footer[64:68] = bytes(4)
        footer[64:68] = (~sum(footer) & 0xFFFFFFFF).to_bytes(4, "big")
        data[at : at + 512] = footer
    vhd.write_bytes(data)
    assert probe(vhd).damage == ()
    convert(vhd, tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()


def test_a_fixed_vhd_with_bytes_behind_its_footer_is_read_all_the_same(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw")
    vhd = tmp_path / "a.vhd"
    run_qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on,subformat=fixed", raw, vhd)
    with vhd.open("ab") as file:
        file.write(bytes(512))
    done = convert(vhd, tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()
    assert any("512 bytes follow" in note.en for note in done.notes)


def test_a_raw_file_that_ends_within_a_sector_is_filled_up_with_zeros(tmp_path: Path) -> None:
    raw = tmp_path / "odd.raw"
    raw.write_bytes(b"\xff" * 1000)
    convert(raw, tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == b"\xff" * 1000 + bytes(24)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.raw").touch()
    with pytest.raises(CannotRead, match="empty"):
        convert(tmp_path / "empty.raw", tmp_path / "out.qcow2", Request(), TCE)
    assert nothing_is_left(tmp_path, "empty.raw")


def test_names_that_mean_something_to_qemu_are_just_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("nbd:host:1", 'json:{"a"}', "a,b=c", "-f", "spa ce\n", "ä中", "'q\"", "fat:rw:."):
        source, out = Path(f"{name}.raw"), Path(f"{name}.qcow2")
        disk(source, size=512 * 1024 + 512)
        convert(source, out, Request(), TCE)
        assert probe(out).format == "qcow2"


def test_a_name_that_is_no_text_is_just_a_name(tmp_path: Path) -> None:
    source = Path(os.fsdecode(bytes(tmp_path) + b"/\xff\xfe.raw"))
    disk(source)
    for out in (tmp_path / "out.vmdk", Path(os.fsdecode(bytes(tmp_path) + b"/\xff.raw"))):
        convert(source, out, Request(), TCE)
    assert out.read_bytes() == source.read_bytes()


def test_an_image_with_a_backing_file_is_refused(tmp_path: Path, raw: Path) -> None:
    run_qemu_img("create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", tmp_path / "overlay.qcow2")
    with pytest.raises(UnsafeImage, match="backing_file"):
        convert(tmp_path / "overlay.qcow2", tmp_path / "out.raw", Request(), TCE)
    assert nothing_is_left(tmp_path, "disk.raw", "overlay.qcow2")


def test_a_hazard_inside_an_archive_is_refused_too(tmp_path: Path) -> None:
    run_qemu_img(
        "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", tmp_path / "a.qcow2", "1M"
    )
    (tmp_path / "a.gz").write_bytes(gzip.compress((tmp_path / "a.qcow2").read_bytes()))
    with pytest.raises(UnsafeImage, match="/etc/passwd"):
        convert(tmp_path / "a.gz", tmp_path / "out.raw", Request(), TCE)
    assert nothing_is_left(tmp_path, "a.gz", "a.qcow2")


def test_a_qcow2_cut_short_is_refused_and_not_filled_with_zeros(tmp_path: Path, raw: Path) -> None:
    source = tmp_path / "a.qcow2"
    run_qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, source)
    shorten(source, source.stat().st_size - 300_000)
    with pytest.raises(CannotRead, match="cut short"):
        convert(source, tmp_path / "out.raw", Request(), TCE)


def test_a_damaged_cluster_that_only_qemu_finds_is_qemus_error(tmp_path: Path, raw: Path) -> None:
    source = tmp_path / "a.qcow2"
    run_qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, source)
    mapped = int(run_qemu_img("info", "--output=json", source).split('"actual-size":')[1].split(",")[0])
    overwrite(source, 5 * 65536, b"\xff" * 20_000)
    assert mapped
    with pytest.raises(CommandFailed, match="Input/output error"):
        convert(source, tmp_path / "out.raw", Request(), TCE)
    assert nothing_is_left(tmp_path, "a.qcow2", "disk.raw")


def test_a_damaged_cluster_is_named_by_our_own_writer_too(tmp_path: Path, raw: Path) -> None:
    source = tmp_path / "a.qcow2"
    run_qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, source)
    overwrite(source, 5 * 65536, b"\xff" * 20_000)
    with pytest.raises(CannotRead, match=r"can't be read: QEMU: Input/output error"):
        convert(source, tmp_path / "out.qcow2", Request(compress=True), TCE)
    assert nothing_is_left(tmp_path, "a.qcow2", "disk.raw")


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    subprocess.run(["xorrisofs", "-quiet", "-o", tmp_path / "a.iso", tmp_path / "file"], check=True)
    with pytest.raises(CannotRead, match="iso"):
        convert(tmp_path / "a.iso", tmp_path / "out.raw", Request(), TCE)


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match="does not exist"):
        convert(tmp_path / "a.raw", tmp_path / "out.raw", Request(), TCE)


@pytest.mark.parametrize(
    "request_",
    [
        Request(to="vhdx"),
        Request(to="raw", compress=True),
        Request(to="vhd", options={"compat": "1.1"}),
        Request(to="qcow2", options={"compat": "2.0"}),
        Request(to="raw", writer="imgtool"),
        Request(to="qcow2", writer="imgtool"),
        Request(to="vmdk", compress=True, options={"subformat": "monolithicSparse"}),
        Request(),
    ],
    ids=[
        "format",
        "compress",
        "option",
        "value",
        "writer",
        "writer without compress",
        "sparse compressed",
        "suffix",
    ],
)
def test_what_does_not_go_together_is_wrong_usage(tmp_path: Path, raw: Path, request_: Request) -> None:
    with pytest.raises(UsageError):
        convert(raw, tmp_path / "out", request_, TCE)
    assert nothing_is_left(tmp_path, "disk.raw")


def test_an_existing_output_stays_as_it_is(tmp_path: Path, raw: Path) -> None:
    (tmp_path / "out.raw").write_bytes(b"precious")
    with pytest.raises(OutputRefused, match="--force"):
        convert(raw, tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == b"precious"
    convert(raw, tmp_path / "out.raw", Request(force=True), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()


def test_the_input_under_another_name_is_never_overwritten(tmp_path: Path, raw: Path) -> None:
    before = raw.read_bytes()
    (tmp_path / "hard.raw").hardlink_to(raw)
    (tmp_path / "soft.raw").symlink_to(raw)
    for name in ("disk.raw", "hard.raw", "soft.raw"):
        with pytest.raises(OutputRefused, match="input itself"):
            convert(raw, tmp_path / name, Request(force=True), TCE)
    assert raw.read_bytes() == before


def test_a_piece_of_the_input_is_never_overwritten(tmp_path: Path, raw: Path) -> None:
    run_qemu_img(
        "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat", raw, tmp_path / "a.vmdk"
    )
    with pytest.raises(OutputRefused, match="input itself"):
        convert(tmp_path / "a.vmdk", tmp_path / "a-flat.vmdk", Request(to="raw", force=True), TCE)


def test_a_disk_beyond_the_profiles_limit_is_refused_before_any_work(tmp_path: Path) -> None:
    source = create(tmp_path / "big.qcow2", "qcow2", "501G")
    with pytest.raises(OverLimit, match=r"501 GiB.*500 GiB") as refused:
        convert(source, tmp_path / "out.qcow2", Request(), TCE)
    assert refused.value.exit_code == 1
    assert nothing_is_left(tmp_path, "big.qcow2")


@pytest.mark.parametrize(
    "request_", [Request(), Request(compress=True), Request(compress=True, writer="qemu-img")]
)
def test_an_output_beyond_the_profiles_limit_is_not_kept(tmp_path: Path, request_: Request) -> None:
    source = tmp_path / "disk.raw"
    source.write_bytes(random.Random(1).randbytes(8 * 1024**2))
    with pytest.raises(OverLimit, match="InvalidFormatSize"):
        convert(source, tmp_path / "out.qcow2", request_, limited(max_actual_size=4 * 1024**2))
    assert nothing_is_left(tmp_path, "disk.raw")


def test_what_comes_out_of_an_archive_is_bounded_by_the_profile(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(80 * 1024**2)))
    with pytest.raises(Bomb):
        convert(tmp_path / "a.gz", tmp_path / "out.qcow2", Request(), limited(max_virtual_size=1024**2))
    assert nothing_is_left(tmp_path, "a.gz")


def test_an_archive_in_an_archive_is_unpacked_but_not_for_ever(tmp_path: Path, raw: Path) -> None:
    data = raw.read_bytes()
    for number in range(5):
        data = gzip.compress(data, mtime=0)
        (tmp_path / f"{number}.gz").write_bytes(data)
    convert(tmp_path / "2.gz", tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()
    with pytest.raises(CannotRead, match="archive in an archive"):
        convert(tmp_path / "3.gz", tmp_path / "two.raw", Request(), TCE)


@pytest.mark.parametrize("name", ["disk-1.vmdk.gz", "disk-1.vmdk", "DISK.RAW.GZ"])
def test_a_compressed_disk_in_an_ova_is_unpacked_too(tmp_path: Path, raw: Path, name: str) -> None:
    """OVF 1.1, 6.1: a disk's file may be compressed by gzip, whatever it is called."""
    (tmp_path / name).write_bytes(gzip.compress(raw.read_bytes(), 1))
    (tmp_path / "a.ovf").write_text("<Envelope/>")
    subprocess.run(["tar", "cf", "a.ova", "a.ovf", name], cwd=tmp_path, check=True)
    convert(tmp_path / "a.ova", tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()


def test_storage_that_is_too_small_is_refused_before_any_work_with_numbers(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.write_bytes(random.Random(1).randbytes(8 * 1024**2))
    monkeypatch.setattr(space.require, "__kwdefaults__", {"copies": 0, "free": lambda folder: 1024**2})
    with pytest.raises(NoRoom, match=r"8 MiB.*1 MiB") as refused:
        convert(raw, tmp_path / "out.qcow2", Request(), TCE)
    assert refused.value.exit_code == 4
    assert nothing_is_left(tmp_path, "disk.raw")


def test_zeros_that_are_allocated_need_no_room(tmp_path: Path) -> None:
    zeros = tmp_path / "zeros.raw"
    zeros.write_bytes(bytes(8 * 1024**2))
    space.require(probe(zeros), tmp_path, compress=False, free=lambda folder: 1024**2)


def test_what_compresses_needs_less_room(tmp_path: Path) -> None:
    text = tmp_path / "text.raw"
    text.write_bytes((b"\xff\0same again" * 700_000)[: 8 * 1024**2])
    space.require(probe(text), tmp_path, compress=True, free=lambda folder: 2 * 1024**2)
    with pytest.raises(NoRoom):
        space.require(probe(text), tmp_path, compress=False, free=lambda folder: 2 * 1024**2)


class Meddling:
    """Progress that does something once a stage is under way."""

    def __init__(self, stage: Text, act: object) -> None:
        self.stage, self.act, self.here = stage, act, False

    def begin(self, title: Text, total: int | None) -> None:
        self.here = title is self.stage

    def at(self, done: int) -> None:
        if self.here and self.act:
            act, self.act = self.act, None
            act()  # type: ignore[operator]

    def end(self) -> None:
        pass


@pytest.mark.parametrize("stage", [engine.CONVERTING, engine.VERIFYING])
@pytest.mark.parametrize("change", ["written", "touched", "grown", "replaced", "removed"])
@pytest.mark.parametrize("compress", [False, True])
def test_an_input_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, raw: Path, stage: Text, change: str, compress: bool
) -> None:
    def meddle() -> None:
        if change == "written":
            overwrite(raw, 512, b"guest")
        elif change == "touched":
            os.utime(raw, ns=(1, 1))
        elif change == "grown":
            shorten(raw, raw.stat().st_size + 512)
        elif change == "replaced":
            other = raw.with_name("other")
            other.write_bytes(raw.read_bytes())
            other.replace(raw)
        else:
            raw.unlink()

    progress = Meddling(stage, meddle)
    told = "was removed or renamed" if change == "removed" else "changed"
    with pytest.raises(InputChanged, match=f"{told} while it was read"):
        convert(raw, tmp_path / "out.qcow2", Request(compress=compress), TCE, progress)
    assert progress.act is None
    assert nothing_is_left(tmp_path, *(["disk.raw"] if change != "removed" else []))


def test_an_input_that_changed_is_what_is_wrong_when_the_output_differs_from_it(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgtool.converters import raw as room

    def overtaken(job: Job) -> Made:
        made = room.convert(job)
        os.truncate(raw, raw.stat().st_size - 512)
        overwrite(raw, 70_000, b"later")
        return made

    monkeypatch.setattr(engine, "discover", lambda: {"raw": replace(room.CONVERTER, convert=overtaken)})
    monkeypatch.setattr(engine, "_vigil", lambda *_: lambda done: None)
    with pytest.raises(InputChanged):
        convert(raw, tmp_path / "out.raw", Request(), TCE)
    assert nothing_is_left(tmp_path, "disk.raw")


def test_an_image_that_a_running_machine_holds_is_refused(tmp_path: Path, raw: Path) -> None:
    source = tmp_path / "a.qcow2"
    run_qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, source)
    shell = ["qemu-io", "-f", "qcow2", source]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
        assert machine.stdin is not None
        assert machine.stdout is not None
        machine.stdin.write(b"write 0 512\n")
        machine.stdin.flush()
        assert machine.stdout.readline()
        try:
            with pytest.raises(ImgtoolError, match="lock"):
                convert(source, tmp_path / "out.raw", Request(), TCE)
        finally:
            machine.stdin.close()
    assert nothing_is_left(tmp_path, "a.qcow2", "disk.raw")


def corrupted(how: str) -> Converter:
    """A raw converter whose output is wrong."""
    from imgtool.converters import raw as room

    def wrong(job: Job) -> Made:
        made = room.convert(job)
        if how == "bytes":
            overwrite(job.out, 70_000, b"wrong")
        elif how == "shorter":
            shorten(job.out, job.out.stat().st_size - 512)
        else:
            overwrite(job.out, 0, b"QFI\xfb" + bytes(100))
        return made

    return replace(room.CONVERTER, convert=wrong)


@pytest.mark.parametrize("how", ["bytes", "shorter", "header"])
def test_a_wrong_output_is_found_and_not_kept(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(engine, "discover", lambda: {"raw": corrupted(how)})
    with pytest.raises(NotVerified):
        convert(raw, tmp_path / "out.raw", Request(), TCE)
    assert nothing_is_left(tmp_path, "disk.raw")


def test_without_verification_contents_are_not_compared(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "discover", lambda: {"raw": corrupted("bytes")})
    done = convert(raw, tmp_path / "out.raw", Request(verify=False), TCE)
    assert not done.verified


def test_a_disk_that_as_raw_would_be_taken_for_another_format_is_not_made_raw(
    tmp_path: Path, raw: Path
) -> None:
    """Its guest wrote a qcow2 header over the first sector: CVE-2024-32498's way in."""
    inner = create(tmp_path / "inner.qcow2", "qcow2", "1M")
    outer = create(tmp_path / "outer.qcow2", "qcow2", "1M")
    overwrite(raw, 0, inner.read_bytes())
    run_qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, outer)
    with pytest.raises(NotVerified, match="choose qcow2"):
        convert(outer, tmp_path / "out.raw", Request(verify=False), TCE)
    convert(outer, tmp_path / "out.qcow2", Request(compress=True), TCE)


def test_a_disk_that_holds_an_iso_can_be_raw(tmp_path: Path, raw: Path) -> None:
    subprocess.run(["xorrisofs", "-quiet", "-o", tmp_path / "a.iso", raw], check=True)
    raw.unlink()
    raw = (tmp_path / "a.iso").rename(raw)
    source = tmp_path / "a.qcow2"
    run_qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, source)
    convert(source, tmp_path / "out.raw", Request(), TCE)
    assert (tmp_path / "out.raw").read_bytes() == raw.read_bytes()


def test_snapshots_are_left_behind_with_a_note(tmp_path: Path, raw: Path) -> None:
    source = tmp_path / "a.qcow2"
    run_qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, source)
    run_qemu_img("snapshot", "-c", "before", source)
    qemu_io(source, "write -P 7 0 512")
    done = convert(source, tmp_path / "out.qcow2", Request(), TCE)
    assert any("before" in note.en for note in done.notes)
    assert content(tmp_path / "out.qcow2", "qcow2", tmp_path)[:512] == b"\7" * 512
    assert probe(tmp_path / "out.qcow2").snapshots == ()


def test_what_a_killed_run_left_is_gone_after_the_next(tmp_path: Path, raw: Path) -> None:
    left = tmp_path / f"{PREFIX}{'0' * 16}"
    left.mkdir()
    (left / "image").write_bytes(b"half")
    convert(raw, tmp_path / "out.raw", Request(), TCE)
    assert nothing_is_left(tmp_path, "disk.raw", "out.raw")


def test_every_stage_is_told_how_far_it_is(tmp_path: Path, raw: Path) -> None:
    told: list[tuple[str, int]] = []

    class Telling:
        def begin(self, title: Text, total: int | None) -> None:
            self.title = title.en

        def at(self, done: int) -> None:
            told.append((self.title, done))

        def end(self) -> None:
            told.append(("end", 0))

    convert(raw, tmp_path / "out.qcow2", Request(), TCE, Telling())
    size = raw.stat().st_size
    assert ("Converting", size) in told
    assert ("Verifying", size) in told
    assert told[-1] == ("end", 0)


def test_qemu_img_is_never_asked_to_guess(tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    real = qemu_img.together

    def listening(commands: list[tuple[str, ...]], **given: object) -> list[bytes]:
        asked.extend(commands)
        return real(commands, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(qemu_img, "together", listening)
    convert(raw, tmp_path / "out.vmdk", Request(), TCE)
    assert {command[1] for command in asked} == {"measure", "convert", "check", "compare"}
    for command in asked:
        assert "-f" in command
        named = [word for word in command if word.startswith("json:")]
        assert len(named) == (2 if command[1] == "compare" else 1)
        assert all('"driver": ' in word and '"backing": null' in word for word in named)
