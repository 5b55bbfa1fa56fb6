"""Profiles: the shipped one, those that extend it, and what is wrong with others, by file and line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imgtool.profiles
from imgtool.errors import UsageError
from imgtool.profiles import load_profile
from imgtool.rules import Severity

GIB = 1 << 30
TCE = Path(imgtool.profiles.__file__).with_name("tce.toml")


def write(folder: Path, text: str, name: str = "site.toml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def failure(file: Path, rules: tuple[str, ...] | None = None) -> str:
    with pytest.raises(UsageError) as raised:
        load_profile(file, rules)
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_tce_holds_the_limits_of_the_reference() -> None:
    tce = load_profile("tce")
    assert tce.name == "tce"
    assert tce.image.formats == ("raw", "vhd", "qcow2", "vmdk")
    assert tce.image.max_virtual_size == tce.image.max_actual_size == 500 * GIB
    assert tce.disk.boot_modes == ("bios", "uefi")
    assert tce.linux.architectures["arm64"] == "arm_64"
    assert tce.linux.virtio_modules_initramfs == ("virtio_blk", "virtio_pci", "virtio_ring", "virtio")


@pytest.mark.parametrize(
    ("family", "target", "kinds"),
    [
        ("linux", "import", ("mbr", "gpt")),
        ("windows", "import", ("mbr",)),
        ("linux", "migrate", ("mbr",)),
        ("windows", "migrate", ("mbr",)),
        ("linux", "data-disk", ("mbr", "gpt", "none")),
    ],
)
def test_tce_takes_these_partition_tables(family: str, target: str, kinds: tuple[str, ...]) -> None:
    assert load_profile("tce").disk.allowed(family, target) == kinds  # type: ignore[arg-type]


def test_an_unknown_system_is_refused_no_table_that_any_system_may_have() -> None:
    assert load_profile("tce").disk.allowed("unknown", "import") == ("mbr", "gpt")


@pytest.mark.parametrize(
    ("ident", "version", "os_type", "os_version"),
    [
        ("debian", "12.15", "Debian", "12"),
        ("centos", "7", "CentOS", "7"),
        ("rocky", "9.4", "CentOS", "9"),
        ("opensuse-leap", "15.6", "openSUSE", "15"),
        ("debian", "", "Debian", ""),
    ],
)
def test_a_release_is_named_as_import_image_takes_it(
    ident: str, version: str, os_type: str, os_version: str
) -> None:
    distribution = load_profile("tce").linux.distributions[ident]
    assert (distribution.os_type, distribution.os_version(version)) == (os_type, os_version)


def test_a_derivative_may_count_its_releases_for_itself(tmp_path: Path) -> None:
    text = 'extends = "tce"\n[linux.distributions.CentOS.releases.tencentos]\n"4" = "9"\n'
    known = load_profile(write(tmp_path, text)).linux.distributions
    assert [known["tencentos"].os_version(it) for it in ("2.4", "3.1", "4.2", "5")] == ["7", "8", "9", ""]
    wrong = 'extends = "tce"\n[linux.distributions.CentOS.releases.tencentos]\n"4" = 9\n'
    with pytest.raises(UsageError, match="text in quotes"):
        load_profile(write(tmp_path, wrong))


def test_a_derivative_is_not_the_distribution_itself() -> None:
    known = load_profile("tce").linux.distributions
    assert known["centos"].itself
    assert not known["rocky"].itself


def test_every_limit_of_tce_names_its_source() -> None:
    rows = TCE.read_text().splitlines()
    for number, row in enumerate(rows):
        if re.match(r"[\w-]+ *=", row) and not row.startswith("name"):
            comments = []
            for above in reversed(rows[:number]):
                if not above.startswith("#"):
                    break
                comments.append(above)
            assert re.search(r"\bref \d\d|\bfield\b", " ".join(comments)), f"tce.toml:{number + 1}: {row}"


def test_another_profile_extends_tce_and_changes_one_limit(tmp_path: Path) -> None:
    site = load_profile(write(tmp_path, 'extends = "tce"\n[image]\nmax_virtual_size = "50 GiB"\n'))
    assert site.name == "site"
    assert site.image.max_virtual_size == 50 * GIB
    assert site.image.max_actual_size == 500 * GIB


def test_a_profile_extends_a_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, 'name = "a"\nextends = "tce"\n[image]\nformats = ["qcow2"]\n', "a.toml")
    other = load_profile(write(tmp_path, 'name = "b"\nextends = "a.toml"\n', "b.toml"))
    assert (other.name, other.image.formats) == ("b", ("qcow2",))


def test_a_partition_table_of_one_family_is_changed_alone(tmp_path: Path) -> None:
    text = 'extends = "tce"\n[disk.partition_tables.import]\nwindows = ["mbr", "gpt"]\n'
    site = load_profile(write(tmp_path, text))
    assert site.disk.allowed("windows", "import") == ("mbr", "gpt")
    assert site.disk.allowed("linux", "import") == ("mbr", "gpt")
    assert site.disk.allowed("windows", "migrate") == ("mbr",)


def test_a_size_may_be_a_number_of_bytes(tmp_path: Path) -> None:
    text = 'extends = "tce"\n[image]\nmax_virtual_size = 4096\n'
    assert load_profile(write(tmp_path, text)).image.max_virtual_size == 4096


def test_a_profile_gives_a_rule_another_level(tmp_path: Path) -> None:
    text = 'extends = "tce"\n[severity]\n"image.snapshots" = "error"\n'
    site = load_profile(write(tmp_path, text), ("image.snapshots",))
    assert site.severity("image.snapshots") is Severity.ERROR
    assert site.severity("image.format") is None


MISTAKES = [
    (
        "a wrong key",
        'extends = "tce"\n[image]\nmax_vitual_size = "50 GiB"\n',
        3,
        "unknown key",
        "'max_virtual_size'?",
    ),
    ("a wrong table", 'extends = "tce"\n\n[imgae]\nx = 1\n', 3, "imgae", "did you mean 'image'"),
    ("a wrong type", 'extends = "tce"\n[image]\nformats = "raw"\n', 3, "image.formats", "a list"),
    (
        "a wrong item of a list",
        'extends = "tce"\n[image]\nformats = [\n  "raw",\n  "qcow3",\n]\n',
        5,
        "qcow3",
        "qcow",
    ),
    (
        "a size without unit",
        'extends = "tce"\n[image]\nmax_actual_size = "500"\n',
        3,
        "max_actual_size",
        "500 GiB",
    ),
    ("a negative size", 'extends = "tce"\n[image]\nmax_actual_size = -1\n', 3, "max_actual_size", "-1"),
    ("a boolean for a number", 'extends = "tce"\n[disk]\nroot_min_free_inodes = true\n', 3, "inodes", "True"),
    ("a table for a value", 'extends = "tce"\n[image.formats]\nraw = 1\n', 2, "image.formats", "list"),
    ("a value for a table", 'extends = "tce"\nimage = 3\n', 2, "image", "table"),
    ("an unknown level", 'extends = "tce"\n[severity]\n"image.format" = "fatal"\n', 3, "fatal", "error"),
    (
        "a rule id without quotes",
        'extends = "tce"\n[severity]\nimage.format = "info"\n',
        3,
        "quotes",
        '"image.format"',
    ),
    (
        "a distribution named twice",
        'extends = "tce"\n[linux.distributions.Debian]\nids = ["ubuntu"]\n',
        3,
        "ubuntu",
        "Ubuntu",
    ),
    ("a syntax error", 'extends = "tce"\n[image\n', 2, "not TOML", ""),
    ("a syntax error at the end", 'extends = "tce"\nname = ', 2, "not TOML", ""),
    ("a parent that is not there", 'name = "x"\nextends = "tec"\n', 2, "'tec'", "'tce'"),
    ("a parent that is no name", "extends = 3\n", 1, "extends", ""),
]


@pytest.mark.parametrize(
    ("text", "line", "says", "offers"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_is_named_with_file_and_line(
    tmp_path: Path, text: str, line: int, says: str, offers: str
) -> None:
    file = write(tmp_path, text)
    said = failure(file)
    assert f"{file}:{line}:" in said
    assert says in said
    assert offers in said


def test_a_level_for_a_rule_that_does_not_exist_offers_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path, 'extends = "tce"\n\n[severity]\n"image.snapshot" = "info"\n')
    said = failure(file, ("image.snapshots", "image.format"))
    assert f"{file}:4:" in said
    assert "'image.snapshots'" in said


def test_a_mistake_in_the_parent_names_the_parent(tmp_path: Path) -> None:
    parent = write(tmp_path, 'extends = "tce"\n[image]\nmax_actual_size = "big"\n', "parent.toml")
    said = failure(write(tmp_path, 'extends = "parent.toml"\n'))
    assert f"{parent}:3:" in said


def test_a_profile_alone_must_be_whole(tmp_path: Path) -> None:
    said = failure(write(tmp_path, '[image]\nformats = ["raw"]\n'))
    assert "is missing" in said
    assert 'extends = "tce"' in said


def test_profiles_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "b.toml"\n', "a.toml")
    assert "extends" in failure(write(tmp_path, 'extends = "a.toml"\n', "b.toml"))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a = 1\n\xff", b"\x00" * 10], ids=["utf-16", "latin-1", "zeros"]
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "binary.toml"
    file.write_bytes(content)
    assert str(file) in failure(file)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "huge.toml"
    with file.open("wb") as sparse:
        sparse.truncate(10 * GIB)
    assert "1 MiB" in failure(file)


def test_a_profile_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    assert str(file) in failure(file)
    with pytest.raises(UsageError, match="'tec'; did you mean 'tce'"):
        load_profile("tec")


@given(st.text(max_size=200))
def test_any_text_is_a_profile_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("any") / "any.toml"
    file.write_text('extends = "tce"\n' + text, errors="replace")
    try:
        load_profile(file)
    except UsageError as error:
        assert str(file) in str(error)  # noqa: PT017 - both endings are right
