from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.guest.fstab import LONGEST_LINE, MOST_ENTRIES, FstabEntry, parse_fstab


def only(text: str) -> FstabEntry:
    (entry,) = parse_fstab(text)
    return entry


def test_comments_and_empty_lines_are_no_entries_and_lines_are_counted() -> None:
    entries = parse_fstab("# one\n\n  # two\n\t\nUUID=a / ext4 defaults 0 1\nproc /proc proc\n")
    assert [(entry.line, entry.mount_point) for entry in entries] == [(5, "/"), (6, "/proc")]


def test_the_last_line_needs_no_end() -> None:
    assert only("UUID=a / ext4 defaults 0 1").passno == 1


def test_octal_escapes_stand_for_bytes() -> None:
    entry = only("LABEL=a\\040b\\134 /mnt/x\\011y\\012 ext4 ro\n")
    assert entry.spec == "LABEL=a b\\"
    assert entry.mount_point == "/mnt/x\ty\n"


def test_escaped_utf8_is_decoded_whole() -> None:
    assert only("UUID=a /\\344\\270\\255 ext4").mount_point == "/中"


def test_missing_options_freq_and_passno_are_no_fault() -> None:
    entry = only("tmpfs /tmp tmpfs")
    assert (entry.options, entry.freq, entry.passno, entry.problems) == ((), 0, 0, ())


@pytest.mark.parametrize("line", ["/dev/sda1", "/dev/sda1 /"])
def test_fewer_than_three_fields_is_a_problem_of_that_line(line: str) -> None:
    entries = parse_fstab(f"{line}\nUUID=a / ext4\n")
    assert [bool(entry.problems) for entry in entries] == [True, False]
    assert entries[0].line == 1


def test_a_comment_behind_the_options_is_remarked_and_the_fields_are_kept() -> None:
    entry = only("/dev/vdb1 /data ext4 defaults # my data")
    assert entry.remarks
    assert not entry.problems
    assert entry.options == ("defaults",)


def test_a_comment_behind_all_six_fields_is_fine() -> None:
    entry = only("UUID=a / ext4 defaults 0 1 # root")
    assert not entry.problems
    assert not entry.remarks


@pytest.mark.parametrize("spec", ['LABEL="root"', "LABEL='root'", "LABEL=root"])
def test_quotes_around_a_tags_value_are_dropped(spec: str) -> None:
    entry = only(f"{spec} / ext4")
    assert entry.spec == "LABEL=root"
    assert entry.tag == ("LABEL", "root")


def test_lines_may_end_as_on_windows() -> None:
    entries = parse_fstab("UUID=a / ext4 defaults 0 1\r\n\r\n# c\r\ntmpfs /tmp tmpfs\r\n")
    assert [entry.type for entry in entries] == ["ext4", "tmpfs"]
    assert entries[0].passno == 1


def test_a_byte_order_mark_spoils_the_first_line() -> None:
    entries = parse_fstab("\ufeff# comment\nUUID=a / ext4\n")
    assert [bool(entry.problems) for entry in entries] == [True, False]


def test_a_relative_mount_point_is_a_problem_unless_it_is_swap() -> None:
    assert only("UUID=a data ext4 defaults 0 0").problems
    assert not only("UUID=a none swap sw 0 0").problems
    assert not only("UUID=a swap swap sw 0 0").problems


def test_commas_inside_quotes_do_not_split_options() -> None:
    entry = only('UUID=a / xfs rw,context="s0:c1,c2",nofail')
    assert entry.options == ("rw", 'context="s0:c1,c2"', "nofail")
    assert entry.nofail


def test_options_with_values_are_found_by_name() -> None:
    entry = only("UUID=a / btrfs subvol=@,x-systemd.device-timeout=5s,ro")
    assert entry.option("x-systemd.device-timeout") == "5s"
    assert entry.option("ro") == ""
    assert entry.option("rw") is None


@pytest.mark.parametrize(
    ("line", "needs", "mandatory"),
    [
        ("UUID=a / ext4 defaults 0 1", True, True),
        ("UUID=a /x ext4 nofail 0 0", True, False),
        ("UUID=a /x ext4 nobootwait 0 0", True, False),
        ("UUID=a /x ext4 noauto 0 0", True, False),
        ("UUID=a /x ext4 x-systemd.automount 0 0", True, False),
        ("UUID=a none swap sw 0 0", True, False),
        ("/dev/mapper/vg-x /x xfs defaults 0 0", True, True),
        ("/swapfile none swap sw 0 0", False, False),
        ("/srv/a /srv/b none bind 0 0", False, False),
        ("/iso/x.iso /mnt iso9660 loop 0 0", False, False),
        ("proc /proc proc defaults 0 0", False, False),
        ("tmpfs /tmp tmpfs size=1g 0 0", False, False),
        ("none /dev/shm tmpfs", False, False),
        ("server:/export /mnt nfs defaults 0 0", False, False),
        ("//server/share /mnt cifs guest 0 0", False, False),
        ("[fe80::1]:/x /mnt nfs4 defaults 0 0", False, False),
        ("UUID=a /iscsi ext4 _netdev 0 0", False, False),
        ("user@host:/x /mnt fuse.sshfs defaults 0 0", False, False),
    ],
)
def test_what_the_boot_waits_for(line: str, needs: bool, mandatory: bool) -> None:
    entry = only(line)
    assert (entry.needs_device, entry.mandatory) == (needs, mandatory)


def test_ten_megabytes_of_comments_hold_no_entries() -> None:
    assert parse_fstab("#\n" * 5_000_000 + "tmpfs /tmp tmpfs\n")[0].line == 5_000_001


def test_a_table_of_many_lines_is_cut_off_and_says_so() -> None:
    entries = parse_fstab("tmpfs /tmp tmpfs\n" * 20_000)
    assert len(entries) == MOST_ENTRIES + 1
    assert entries[-1].problems


def test_an_endless_line_is_a_problem_and_is_not_kept_whole() -> None:
    entry = only("UUID=a /" + "x" * 1_000_000 + " ext4")
    assert entry.problems
    assert len(entry.raw) <= LONGEST_LINE
    assert len(str(entry)) < 300


def test_evidence_shows_file_line_and_words_without_control_characters() -> None:
    text = "\n\n\n/dev/vdb1\t/data\x1b[31m ext4   defaults 0 0"
    assert str(only(text)) == "/etc/fstab:4: /dev/vdb1 /data?[31m ext4 defaults 0 0"


def escape(field: str) -> str:
    return "".join(f"\\{ord(letter):03o}" if letter in " \t\n\\#" else letter for letter in field)


FIELDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1)


@given(FIELDS, FIELDS, st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=100)
def test_what_is_escaped_comes_back(spec: str, place: str, freq: int, passno: int) -> None:
    entry = only(f"/{escape(spec)} /x{escape(place)} ext4 defaults {freq} {passno}")
    assert entry.spec == "/" + spec
    assert entry.mount_point == ("/x" + place).rstrip("/")
    assert (entry.freq, entry.passno, entry.problems) == (freq, passno, ())


@given(st.text())
@settings(max_examples=200)
def test_no_text_is_too_strange(text: str) -> None:
    for entry in parse_fstab(text):
        assert entry.line >= 1
        assert str(entry).startswith("/etc/fstab:")


# Words that belong where they stand; on others, versions of util-linux differ (2.41: numbers at the end).
LINES = st.tuples(
    st.sampled_from(["UUID=a", "LABEL=x\\040y", "/dev/sda1", "tmpfs", "PARTLABEL=0"]),
    st.sampled_from(["/", "/a", "/b\\011c", "/srv/x\\040y", "/mnt//d"]),
    st.sampled_from(["ext4", "xfs", "auto", "vfat"]),
    st.sampled_from(["defaults", "ro,nofail", "x-systemd.automount,noauto"]),
    st.sampled_from(["0", "1"]),
    st.sampled_from(["0", "1", "2"]),
).flatmap(lambda line: st.integers(3, 6).map(lambda fields: line[:fields]))


@given(st.lists(LINES, min_size=1, max_size=4))
@settings(max_examples=15)
def test_util_linux_reads_the_same_fields(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, ...]]
) -> None:
    table = tmp_path_factory.mktemp("fstab") / "fstab"
    table.write_text("\n".join(" \t".join(line) for line in lines) + "\n")
    entries = [entry for entry in parse_fstab(table.read_text()) if not entry.remarks and len(entry.raw)]
    assert findmnt(table) == [(entry.spec, entry.mount_point, entry.type) for entry in entries]


def findmnt(table: Path) -> list[tuple[str, str, str]]:
    """The table as libmount reads it."""
    import json

    command = ["findmnt", "--tab-file", str(table), "--json", "--list", "-o", "SOURCE,TARGET,FSTYPE"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = json.loads(told)["filesystems"] if told else []
    return [(it["source"], it["target"], it["fstype"]) for it in found]
