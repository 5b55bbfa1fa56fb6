"""The rules on the image file: one image, one fact changed, one finding expected."""

from __future__ import annotations

import os
import random
import shlex
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from imgtool.disk.commands import byte_count, conversion, qcow2_name, shell_name
from imgtool.disk.probe import probe
from imgtool.image import Image, Options
from imgtool.profiles import Profile, load_profile
from imgtool.report.remedy import remedy_lines
from imgtool.rules import Finding, Severity, Status, Target, discover, run
from imgtool.text import Text
from tests.disk.formats.images import (
    convert,
    create,
    disk,
    overwrite,
    qemu_img,
    qemu_io,
    qemu_virtual_size,
    shorten,
)
from tests.disk.formats.test_vhd import both_footers_with
from tests.disk.formats.test_vmdk import one_extent, sparse

GIB = 1 << 30
RULES = {name: found for name, found in discover().items() if name.startswith("image.")}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("tce")


def findings(path: Path, profile: Profile, target: Target = "import", deep: bool = False) -> list[Finding]:
    with Image(path, profile, Options(target=target, deep=deep)) as image:
        return run(image, RULES)


def faults(found: Sequence[Finding]) -> list[tuple[str, Status]]:
    """What is not as it should be, without what is skipped for it."""
    return [
        (finding.id, finding.status) for finding in found if finding.status not in {Status.PASS, Status.SKIP}
    ]


def the_fault(path: Path, profile: Profile, rule_id: str, target: Target = "import") -> Finding:
    """The one finding that is not a pass: the rule's. Said in both languages, with a remedy."""
    found = findings(path, profile, target)
    assert [name for name, _ in faults(found)] == [rule_id]
    (fault,) = (finding for finding in found if finding.status not in {Status.PASS, Status.SKIP})
    assert fault.remedy is not None
    assert fault.message.en != fault.message.zh
    assert fault.remedy.zh
    return fault


def commands(remedy: Text) -> list[str]:
    """What a reader copies out of it: the same in both languages."""
    found = [text for text, is_command in remedy_lines(remedy.en) if is_command]
    assert [text for text, is_command in remedy_lines(remedy.zh) if is_command] == found
    return found


def follow(command: str, folder: Path) -> None:
    """Do what a remedy says, in a shell that finds imgtool."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    subprocess.run(command, shell=True, check=True, cwd=folder, env=env, capture_output=True)  # noqa: S602


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("image.raw", ("raw", "")),
        ("image.qcow2", ("qcow2", "")),
        ("old.qcow2", ("qcow2", "compat=0.10")),
        ("image.vmdk", ("vmdk", "")),
        ("image.vhd", ("vpc", "")),
        ("fixed.vhd", ("vpc", "subformat=fixed")),
    ],
)
@pytest.mark.parametrize("target", ["import", "migrate", "data-disk"])
def test_a_good_image_has_no_fault(
    tmp_path: Path, profile: Profile, name: str, made: tuple[str, str], target: Target
) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / name, *made)
    found = findings(image, profile, target)
    assert {finding.id: finding.status for finding in found} == dict.fromkeys(RULES, Status.PASS)


@pytest.mark.parametrize("qemu_format", ["vhdx", "vdi", "qed", "qcow"])
def test_another_disk_format_is_refused_and_its_remedy_makes_a_good_image(
    tmp_path: Path, profile: Profile, qemu_format: str
) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / f"it's {qemu_format}", qemu_format)
    fault = the_fault(image, profile, "image.format")
    assert (fault.status, fault.platform_code) == (Status.FAIL, "InvalidFormatSize")
    assert fault.remedy is not None
    follow(fault.remedy.en.partition(": ")[2], tmp_path)
    assert not faults(findings(image.with_suffix(".qcow2"), profile))


def test_a_foreign_overlay_is_to_be_converted_where_its_base_is(tmp_path: Path, profile: Profile) -> None:
    image = tmp_path / "image.qed"
    qemu_img("create", "-q", "-u", "-f", "qed", "-F", "raw", "-b", "/etc/passwd", image, "1G")
    remedy = the_fault(image, profile, "image.format").remedy
    assert remedy is not None
    assert "/etc/passwd" in remedy.en


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0", "1 bytes, less than one sector"),
        (b"<html>denied</html>", "web page"),
        (b'{"code": 403}', "JSON"),
        (b"<?xml?><Error/>", "XML"),
        (b"hello world\n", "text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b'<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>', "OVF"),
        (b"MSWIM\0\0\0" + bytes(1000), "Windows installation"),
        (b"LUKS\xba\xbe\0\2" + bytes(1000), "encrypted"),
        (bytes(32768) + b"\1CD001\1" + bytes(73) + struct.pack("<I", 18) + struct.pack(">I", 18)
         + bytes(40) + struct.pack("<H", 2048) + struct.pack(">H", 2048) + bytes(4000), "ISO image"),
    ],
)  # fmt: skip
def test_what_is_no_disk_image_is_called_what_it_is(
    tmp_path: Path, profile: Profile, content: bytes, words: str
) -> None:
    path = tmp_path / "image.qcow2"
    path.write_bytes(content)
    assert words in the_fault(path, profile, "image.format").message.en


@pytest.mark.parametrize(
    ("tool", "command"),
    [
        (["gzip"], "gzip -dc {name} > {out}"),
        (["xz"], "xz -dc {name} > {out}"),
        (["bzip2"], "bzip2 -dc {name} > {out}"),
        (["zstd", "-q"], "zstd -dc {name} > {out}"),
    ],
)
def test_a_compressed_image_is_unpacked_by_its_remedy(
    tmp_path: Path, profile: Profile, tool: list[str], command: str
) -> None:
    packed = tmp_path / "disk.raw.packed"
    packed.write_bytes(
        subprocess.run([*tool, "-c"], input=bytes(4096), check=True, capture_output=True).stdout
    )
    remedy = the_fault(packed, profile, "image.format").remedy
    assert remedy is not None
    unpack = command.format(name=packed, out=tmp_path / "disk.raw")
    assert commands(remedy)[1:] == [unpack]
    subprocess.run(unpack, shell=True, check=True)  # noqa: S602
    assert (tmp_path / "disk.raw").read_bytes() == bytes(4096)


def archive(tmp_path: Path) -> Path:
    create(tmp_path / "disk.qcow2", "qcow2", "1G")
    path = tmp_path / "disk.tar.gz"
    subprocess.run(["tar", "-czf", path, "-C", tmp_path, "disk.qcow2"], check=True)
    return path


def test_a_tar_gz_is_refused_for_an_import(tmp_path: Path, profile: Profile) -> None:
    fault = the_fault(archive(tmp_path), profile, "image.format")
    assert "tar + gzip" in fault.message.en


def test_a_tar_gz_is_taken_for_offline_migration_and_nothing_in_it_is_judged(
    tmp_path: Path, profile: Profile
) -> None:
    found = findings(archive(tmp_path), profile, "migrate")
    statuses = {finding.id: finding.status for finding in found}
    assert statuses.pop("image.format") is Status.PASS
    assert set(statuses.values()) == {Status.SKIP}


def test_a_zip_is_no_archive_that_migration_names(tmp_path: Path, profile: Profile) -> None:
    path = tmp_path / "disk.zip"
    path.write_bytes(b"PK\5\6" + bytes(18))
    the_fault(path, profile, "image.format", "migrate")


def test_a_format_that_the_profile_leaves_out_is_refused(tmp_path: Path, profile: Profile) -> None:
    narrow = replace(profile, image=replace(profile.image, formats=("qcow2",)))
    fault = the_fault(create(tmp_path / "a.vmdk", "vmdk", "1G"), narrow, "image.format")
    assert fault.remedy is not None
    assert fault.remedy.en.endswith(f"imgtool convert --compress {tmp_path}/a.vmdk {tmp_path}/a.qcow2")


@pytest.mark.parametrize(
    ("name", "pack", "out"),
    [
        ("disk.img.gz", ["gzip", "-c"], "disk.qcow2"),
        ("disk.qcow2.xz", ["xz", "-0c"], "disk.qcow2"),
        ("it's.tar.gz", ["tar", "-czf-"], "it's.qcow2"),
        ("export", ["tar", "-cf-"], "export.qcow2"),
    ],
)
def test_an_image_in_an_archive_is_converted_by_the_remedy(
    tmp_path: Path, profile: Profile, name: str, pack: list[str], out: str
) -> None:
    create(tmp_path / "disk.raw", "raw", "8M")
    done = subprocess.run([*pack, "disk.raw"], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / name).write_bytes(done.stdout)
    remedy = the_fault(tmp_path / name, profile, "image.format").remedy
    assert remedy is not None
    follow(commands(remedy)[0], tmp_path)
    assert probe(tmp_path / out).virtual_size == 8 << 20


def test_an_ova_s_disk_is_converted_or_unpacked_by_the_remedy(tmp_path: Path, profile: Profile) -> None:
    create(tmp_path / "disk.vmdk", "vmdk", "8M", "subformat=streamOptimized")
    (tmp_path / "machine.ovf").write_text('<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>')
    package = tmp_path / "the machine.ova"
    subprocess.run(["tar", "-cf", package, "machine.ovf", "disk.vmdk"], cwd=tmp_path, check=True)
    remedy = the_fault(package, profile, "image.format").remedy
    assert remedy is not None
    convert_it, unpack_it = commands(remedy)
    follow(convert_it, tmp_path)
    assert probe(tmp_path / "the machine.qcow2").virtual_size == 8 << 20
    assert unpack_it == f"tar -xf {shlex.quote(str(package))} && imgtool check *.vmdk"


def test_a_streamoptimized_vmdk_that_was_cut_short_is_not_told_to_convert_as_it_is(
    tmp_path: Path, profile: Profile
) -> None:
    raw = create(tmp_path / "disk.raw", "raw", "8M")
    raw.write_bytes(random.Random(1).randbytes(8 << 20))
    image = tmp_path / "disk.vmdk"
    stream = ["-O", "vmdk", "-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", *stream, raw, image], check=True)
    os.truncate(image, image.stat().st_size // 2)
    found = {it.id: it.remedy for it in findings(image, profile) if it.status in {Status.FAIL, Status.WARN}}
    assert set(found) == {"image.integrity", "image.features"}
    remedy = found["image.features"]
    assert remedy is not None
    assert remedy.en.startswith("First it has to be whole (see image.integrity)")


def test_a_disk_of_exactly_500_gib_is_taken(tmp_path: Path, profile: Profile) -> None:
    assert not faults(findings(create(tmp_path / "image.qcow2", "qcow2", 500 * GIB), profile))


def test_a_disk_one_sector_larger_is_not(tmp_path: Path, profile: Profile) -> None:
    fault = the_fault(create(tmp_path / "a.qcow2", "qcow2", 500 * GIB + 512), profile, "image.size.virtual")
    assert (fault.status, fault.platform_code) == (Status.FAIL, "InvalidFormatSize")


def test_a_large_vhd_is_judged_by_its_footer(tmp_path: Path, profile: Profile) -> None:
    the_fault(create(tmp_path / "a.vhd", "vpc", 600 * GIB), profile, "image.size.virtual")


def test_a_qcow2_is_judged_by_the_space_it_takes(tmp_path: Path, profile: Profile) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / "image.qcow2", "qcow2")
    small = replace(profile, image=replace(profile.image, max_actual_size=1024**2))
    fault = the_fault(image, small, "image.size.actual")
    assert (fault.status, fault.platform_code) == (Status.FAIL, "InvalidFormatSize")


def test_a_file_with_overhead_is_judged_as_it_would_be_as_qcow2(tmp_path: Path, profile: Profile) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / "image.vhd", "vpc", "subformat=fixed,force_size=on")
    overwrite(image, 2 * 65536 - 10, b"x")
    exact = replace(profile, image=replace(profile.image, max_actual_size=4 * 1024**2 + 512))
    assert not faults(findings(image, exact))


def test_what_only_a_conversion_can_tell_is_unknown(tmp_path: Path, profile: Profile) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / "image.vmdk", "vmdk")
    small = replace(profile, image=replace(profile.image, max_actual_size=1024**2))
    assert the_fault(image, small, "image.size.actual").status is Status.UNKNOWN


def test_a_backing_file_is_an_error_with_its_name(tmp_path: Path, profile: Profile) -> None:
    image = tmp_path / "overlay.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", image, "1G")
    fault = the_fault(image, profile, "image.container")
    assert (fault.status, fault.platform_code) == (Status.FAIL, "InvalidFormatSize")
    assert fault.evidence == ("backing_file: /etc/passwd",)


def test_an_external_data_file_is_an_error(tmp_path: Path, profile: Profile) -> None:
    image = create(tmp_path / "a.qcow2", "qcow2", "1G", f"data_file={tmp_path / 'data'}")
    the_fault(image, profile, "image.container")


def test_encryption_is_an_error_whose_remedy_decrypts(tmp_path: Path, profile: Profile) -> None:
    image = overwrite(create(tmp_path / "a,b.qcow2", "qcow2", "1G"), 32, struct.pack(">I", 1))
    remedy = the_fault(image, profile, "image.container").remedy
    assert remedy is not None
    words = shlex.split(remedy.en.partition(": ")[2])
    assert f"driver=qcow2,encrypt.key-secret=key,file.filename={tmp_path}/a,,b.qcow2" in words


def test_a_flat_vmdk_is_an_error_whose_remedy_makes_one_file(tmp_path: Path, profile: Profile) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / "image.vmdk", "vmdk", "subformat=monolithicFlat")
    fault = the_fault(image, profile, "image.container")
    assert fault.evidence == ("image-flat.vmdk",)
    assert fault.remedy is not None
    subprocess.run(fault.remedy.en.partition(": ")[2], shell=True, check=True)  # noqa: S602
    assert not faults(findings(tmp_path / "image.qcow2", profile))


def test_a_flat_vmdk_without_its_data_is_an_error(tmp_path: Path, profile: Profile) -> None:
    image = create(tmp_path / "image.vmdk", "vmdk", "1G", "subformat=monolithicFlat")
    (tmp_path / "image-flat.vmdk").unlink()
    assert "image-flat.vmdk" in the_fault(image, profile, "image.container").evidence[0]


def test_an_extent_elsewhere_is_an_error(tmp_path: Path, profile: Profile) -> None:
    image = tmp_path / "image.vmdk"
    image.write_text('# Disk DescriptorFile\nversion=1\nCID=1\nRW 8 FLAT "/etc/shadow" 0\n')
    assert the_fault(image, profile, "image.container").evidence == ("extent_elsewhere: /etc/shadow",)


def test_a_device_as_extent_is_an_error(tmp_path: Path, profile: Profile) -> None:
    image = tmp_path / "image.vmdk"
    image.write_text('# Disk DescriptorFile\nversion=1\nCID=1\nRW 8 FLAT "/dev/sda" 0\n')
    the_fault(image, profile, "image.container")


def test_a_snapshot_s_delta_is_an_error(tmp_path: Path, profile: Profile) -> None:
    the_fault(sparse(tmp_path / "a.vmdk", one_extent(parent="01234567")), profile, "image.container")


def test_a_differencing_vhd_is_an_error(tmp_path: Path, profile: Profile) -> None:
    image = both_footers_with(create(tmp_path / "a.vhd", "vpc", "1G"), 60, struct.pack(">I", 4))
    remedy = the_fault(image, profile, "image.container").remedy
    assert remedy is not None
    assert "Merge-VHD" in remedy.en


@pytest.mark.parametrize(
    ("name", "qemu_format", "options"),
    [
        ("a.qcow2", "qcow2", ""),
        ("a.vmdk", "vmdk", ""),
        ("a.vmdk", "vmdk", "subformat=streamOptimized"),
        ("a.vhd", "vpc", ""),
    ],
)
def test_a_truncated_image_is_an_error(
    tmp_path: Path, profile: Profile, name: str, qemu_format: str, options: str
) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / name, qemu_format, options)
    shorten(image, image.stat().st_size // 2)
    found = findings(image, profile)
    errors = [finding for finding in found if finding.status is Status.FAIL]
    assert [(error.id, error.platform_code, error.evidence) for error in errors] == [
        ("image.integrity", "InvalidFormatSize", ("truncated",))
    ]


@pytest.mark.parametrize("bit", [1, 2, 1 << 40], ids=["dirty", "corrupt", "unknown"])
def test_a_flag_of_qcow2_is_an_error(tmp_path: Path, profile: Profile, bit: int) -> None:
    image = overwrite(create(tmp_path / "a.qcow2", "qcow2", "1G"), 72, struct.pack(">Q", bit))
    assert the_fault(image, profile, "image.integrity").status is Status.FAIL


def test_the_remedy_for_a_dirty_image_repairs_a_copy(tmp_path: Path, profile: Profile) -> None:
    image = overwrite(create(tmp_path / "a.qcow2", "qcow2", "1G"), 72, struct.pack(">Q", 1))
    remedy = the_fault(image, profile, "image.integrity").remedy
    assert remedy is not None
    subprocess.run(remedy.en.partition(": ")[2], shell=True, check=True, capture_output=True)  # noqa: S602
    assert not faults(findings(tmp_path / "a-repaired.qcow2", profile))


def test_a_disk_copied_while_its_machine_ran_is_a_warning(tmp_path: Path, profile: Profile) -> None:
    image = sparse(tmp_path / "a.vmdk", one_extent(), unclean_shutdown=1)
    fault = the_fault(image, profile, "image.integrity")
    assert (fault.status, fault.severity) == (Status.WARN, Severity.WARNING)


@pytest.mark.parametrize("trailing", ["fixed", "dynamic"])
def test_bytes_behind_a_footer_are_removed_by_the_remedy(
    tmp_path: Path, profile: Profile, trailing: str
) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / "a.vhd", "vpc", f"subformat={trailing}")
    with image.open("ab") as file:
        file.write(bytes(1000))
    remedy = the_fault(image, profile, "image.integrity").remedy
    assert remedy is not None
    subprocess.run(remedy.en.partition(": ")[2], shell=True, check=True)  # noqa: S602
    assert not faults(findings(tmp_path / "a-repaired.vhd", profile))


def leaky(path: Path) -> Path:
    """A cluster that is counted and used by nothing."""
    image = create(path, "qcow2", "64M")
    qemu_io(image, "write 0 64k")
    block = struct.unpack(">Q", image.read_bytes()[0x10000:0x10008])[0]
    return overwrite(shorten(image, 41 * 65536), block + 2 * 40, b"\0\1")


def test_deep_finds_what_the_quick_look_leaves(tmp_path: Path, profile: Profile) -> None:
    image = create(tmp_path / "a.qcow2", "qcow2", "64M")
    qemu_io(image, "write 0 64k")
    block = struct.unpack(">Q", image.read_bytes()[0x10000:0x10008])[0]
    overwrite(image, block + 2 * 4, b"\0\0\0\0")
    assert not faults(findings(image, profile))
    (fault,) = (finding for finding in findings(image, profile, deep=True) if finding.status is Status.FAIL)
    assert fault.id == "image.integrity"
    assert any("refcount=0" in line for line in fault.evidence)


def test_deep_calls_leaked_clusters_a_warning(tmp_path: Path, profile: Profile) -> None:
    assert faults(findings(leaky(tmp_path / "a.qcow2"), profile, deep=True)) == [
        ("image.integrity", Status.WARN)
    ]


@pytest.mark.parametrize(
    ("name", "qemu_format"), [("a.qcow2", "qcow2"), ("a.vmdk", "vmdk"), ("a.vhd", "vpc")]
)
def test_deep_passes_a_good_image(tmp_path: Path, profile: Profile, name: str, qemu_format: str) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / name, qemu_format)
    assert not faults(findings(image, profile, deep=True))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a.qcow2", ("qcow2", "compression_type=zstd", "-c")),
        ("a.qcow2", ("qcow2", "extended_l2=on")),
        ("a.vmdk", ("vmdk", "subformat=streamOptimized")),
    ],
)
def test_an_uncommon_feature_is_a_warning_whose_remedy_removes_it(
    tmp_path: Path, profile: Profile, name: str, made: tuple[str, ...]
) -> None:
    image = convert(disk(tmp_path / "disk"), tmp_path / name, *made)
    fault = the_fault(image, profile, "image.features")
    assert fault.status is Status.WARN
    assert fault.remedy is not None
    subprocess.run(fault.remedy.en.partition(": ")[2], shell=True, check=True)  # noqa: S602
    assert not faults(findings(qcow2_name(image), profile))
    qemu_img("compare", "-f", "raw", "-F", "qcow2", tmp_path / "disk", qcow2_name(image))


def test_a_vhd_that_qemu_takes_for_smaller_is_a_warning_whose_remedy_keeps_its_size(
    tmp_path: Path, profile: Profile
) -> None:
    source = disk(tmp_path / "disk")
    image = convert(source, tmp_path / "a,b.vhd", "vpc", "force_size=on")
    both_footers_with(both_footers_with(image, 28, b"vbox"), 56, struct.pack(">HBB", 10, 16, 17))
    fault = the_fault(image, profile, "image.features")
    assert fault.remedy is not None
    subprocess.run(fault.remedy.en.partition(": ")[2], shell=True, check=True)  # noqa: S602
    assert qemu_virtual_size(tmp_path / "a,b.qcow2", "qcow2") == source.stat().st_size


def test_one_piece_of_a_split_vmdk_is_a_warning(tmp_path: Path, profile: Profile) -> None:
    create(tmp_path / "a.vmdk", "vmdk", "1G", "subformat=twoGbMaxExtentSparse")
    the_fault(tmp_path / "a-s001.vmdk", profile, "image.features")


def test_snapshots_are_a_warning_with_their_names(tmp_path: Path, profile: Profile) -> None:
    image = create(tmp_path / "a.qcow2", "qcow2", "1G")
    qemu_img("snapshot", "-c", "before update", image)
    fault = the_fault(image, profile, "image.snapshots")
    assert fault.evidence == ("1: before update (VM state 0 bytes)",)


def test_an_image_that_cannot_be_read_is_unknown(tmp_path: Path, profile: Profile) -> None:
    found = findings(tmp_path / "missing.qcow2", profile)
    assert {status for _, status in faults(found)} == {Status.UNKNOWN}


@pytest.mark.parametrize(
    "name",
    ["plain.vmdk", "with space.vmdk", "it's.vmdk", "$(x).vmdk", "镜像.vmdk", "tab\tnew\nline.vmdk"],
)
def test_a_name_in_a_command_is_one_word_of_a_shell(tmp_path: Path, name: str) -> None:
    said = shell_name(tmp_path / name)
    done = subprocess.run(["bash", "-c", f"printf %s {said}"], check=True, capture_output=True)
    assert done.stdout == bytes(tmp_path / name)
    assert said.isprintable()


def test_a_name_that_is_not_utf_8_is_one_word_of_a_shell() -> None:
    said = shell_name(Path(os.fsdecode(b"a\xff.raw")))
    done = subprocess.run(["bash", "-c", f"printf %s {said}"], check=True, capture_output=True)
    assert done.stdout == b"a\xff.raw"


@pytest.mark.parametrize("name", ["-rf.vmdk", "nbd:host.vmdk"])
def test_a_name_is_no_option_and_no_protocol_to_qemu(name: str) -> None:
    assert shlex.split(shell_name(Path(name))) == ["./" + name]


def test_a_conversion_never_names_its_own_source(tmp_path: Path) -> None:
    from imgtool.disk.probe import probe

    image = create(tmp_path / "a.qcow2", "qcow2", "1G")
    assert conversion(probe(image)) == (
        f"qemu-img convert -f qcow2 -O qcow2 {image} {tmp_path / 'a-converted.qcow2'}"
    )


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (500 * GIB, "500 GiB (536870912000 bytes)"),
        (1 << 40, "1 TiB (1099511627776 bytes)"),
    ],
)
def test_sizes_are_said_twice(count: int, words: str) -> None:
    assert byte_count(count) == words
