"""The rooms of the converters: found by discovery, each saying what it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from imgtool.converters import qcow2, vhd

from imgtool.convert.converter import Converter, Job, choose, discover
from imgtool.disk.formats.image_file import ImageFile
from imgtool.disk.probe import probe
from imgtool.errors import MachineLacks, UsageError
from imgtool.profiles import load_profile
from tests.disk.formats.images import disk

CONVERTERS = discover()


def test_there_is_a_converter_for_every_format_that_the_platform_takes() -> None:
    assert sorted(CONVERTERS) == sorted(load_profile("tce").image.formats)


@pytest.mark.parametrize("converter", CONVERTERS.values(), ids=CONVERTERS.keys())
def test_every_converter_says_what_the_platform_accepts_and_what_its_options_mean(
    converter: Converter,
) -> None:
    assert converter.accepted.en
    assert converter.accepted.zh
    for option in converter.options:
        assert option.default in option.choices
        assert option.meaning.en
        assert option.meaning.zh


def test_no_suffix_means_two_formats() -> None:
    suffixes = [suffix for converter in CONVERTERS.values() for suffix in converter.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in suffixes)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.qcow2", "qcow2"), ("A.QCOW2", "qcow2"), ("a.img", "raw"), ("a.b.vhd", "vhd"), ("a.vmdk", "vmdk")],
)
def test_the_suffix_means_a_format(name: str, expected: str) -> None:
    assert choose(None, Path(name), CONVERTERS).name == expected


@pytest.mark.parametrize("name", ["a", "a.iso", "a.vhdx", ".qcow2", "a.qcow2.gz"])
def test_other_suffixes_mean_nothing(name: str) -> None:
    with pytest.raises(UsageError, match="--to"):
        choose(None, Path(name), CONVERTERS)


def test_the_engine_names_no_converter() -> None:
    script = (
        "import sys, imgtool.convert.engine, imgtool.cli.convert;"
        "print([name for name in sys.modules if name.startswith('imgtool.converters')])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


def job(source: ImageFile, out: Path, converter: Converter, **given: object) -> Job:
    return Job(source, out, converter.settings({}), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "here", "expected"),
    [
        ({"compress": True}, True, "imgtool"),
        ({"compress": True}, False, "qemu-img"),
        ({"compress": True, "writer": "qemu-img"}, True, "qemu-img"),
        ({"compress": False}, True, "qemu-img"),
    ],
)
def test_our_writer_compresses_where_isal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, object], here: bool, expected: str
) -> None:
    monkeypatch.setattr(qcow2, "find_spec", lambda name: object() if here else None)
    source = probe(disk(tmp_path / "disk.raw"))
    made = qcow2.convert(job(source, tmp_path / "out.qcow2", qcow2.CONVERTER, **given))
    assert made.writer == expected
    assert ("compressed" in probe(tmp_path / "out.qcow2").features) == given["compress"]


def test_our_writer_where_isal_is_not_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qcow2, "find_spec", lambda name: None)
    source = probe(disk(tmp_path / "disk.raw"))
    with pytest.raises(MachineLacks, match="--writer qemu-img"):
        qcow2.convert(job(source, tmp_path / "out", qcow2.CONVERTER, compress=True, writer="imgtool"))


def test_our_writer_gives_the_digests_of_its_file(tmp_path: Path) -> None:
    source = probe(disk(tmp_path / "disk.raw"))
    made = qcow2.convert(job(source, tmp_path / "out.qcow2", qcow2.CONVERTER, compress=True))
    said = subprocess.check_output(["sha256sum", tmp_path / "out.qcow2"], text=True)
    assert made.sha256 == said.split()[0]


def test_a_disk_too_large_for_a_vhd_is_refused(tmp_path: Path) -> None:
    huge = ImageFile(tmp_path / "a.raw", "raw", None, 2040 * 1024**3 + 512, 0, 0)
    with pytest.raises(UsageError, match="2040 GiB"):
        vhd.convert(job(huge, tmp_path / "out.vhd", vhd.CONVERTER))


def test_a_vhd_says_that_its_size_is_its_footers(tmp_path: Path) -> None:
    source = probe(disk(tmp_path / "disk.raw"))
    vhd.convert(job(source, tmp_path / "out.vhd", vhd.CONVERTER))
    made = probe(tmp_path / "out.vhd")
    assert "creator=qem2" in made.features
    assert not any(feature.startswith("geometry_size") for feature in made.features)
