"""Hives that Windows was writing: what their logs hold is read, or it is said that it can't be.

Of two real dirty hives (Windows 7 and 10), not kept here, the replay gave the keys and values that these
Windows themselves made of them.
"""

from __future__ import annotations

import io
import random
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.windows import hive, hive_log
from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.windows import hive_logs
from imgtool.guest.windows.hive_logs import marvin32
from imgtool.guest.windows.registry import Hive

SERVICES = "ControlSet001\\Services"


def made(path: Path, *services: str) -> bytes:
    """A hive with these services, each with room for many values."""
    filling = {f"v{number}": hive.sz("x" * 500) for number in range(8)}
    hive.make_hive(path, {f"{SERVICES}\\{name}": filling for name in services}, "SYSTEM")
    return path.read_bytes()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The hive as it was, and after each of three changes; all but the first in the logs only."""
    folder = tmp_path_factory.mktemp("hives")
    names = ("disk", "netkvm", "viostor", "vioscsi")
    return [made(folder / str(count), *names[:count]) for count in (1, 2, 3, 4)]


def opened(primary: bytes, *logs: tuple[str, bytes]) -> Hive:
    return Hive(io.BytesIO(primary), "/SYSTEM", lambda: [(name, io.BytesIO(data)) for name, data in logs])


def services(found: Hive) -> list[str]:
    key = found.key(SERVICES)
    return key.names() if key is not None else []


def entries(states: list[bytes], first: int = 8) -> list[bytes]:
    """One entry for each change."""
    return [
        hive_log.entry(
            (first + number) % 2**32, hive_log.changed_pages(before, after), len(after) - hive.PAGE
        )
        for number, (before, after) in enumerate(pairwise(states))
    ]


def test_the_hash_of_log_entries_is_marvin32_as_published_for_dotnet() -> None:
    seed = 0x004FB61A001BDBCC
    published = {
        "": 0x30ED35C100CD3C7D,
        "af": 0x48E73FC77D75DDC1,
        "e70f": 0xB5F6E1FC485DBFF8,
        "37f495": 0xF0B07C789B8CF7E8,
        "8642dc59": 0x7008F2E87E9CF556,
        "153fb79826": 0xE6C08C6DA2AFA997,
        "ab427ea8d10fc7": 0xE11847E4F0678C41,
    }
    assert {it: marvin32(bytes.fromhex(it), seed) for it in published} == published


def test_a_hive_that_was_written_out_does_not_ask_for_its_logs(states: list[bytes]) -> None:
    def never() -> list[tuple[str, io.BytesIO]]:
        raise AssertionError("asked")

    found = Hive(io.BytesIO(states[0]), "/SYSTEM", never)  # type: ignore[arg-type]
    assert not found.dirty
    assert services(found) == ["disk"]


def test_entries_are_replayed_in_their_order(states: list[bytes]) -> None:
    log = hive_log.log_of_entries(states[0], 8, *entries(states))
    found = opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log))
    assert found.dirty
    assert services(found) == ["disk", "netkvm", "vioscsi", "viostor"]


def test_entries_that_are_spread_over_both_logs_are_replayed_whichever_is_first(states: list[bytes]) -> None:
    one, two, three = entries(states)
    later = ("SYSTEM.LOG1", hive_log.log_of_entries(states[0], 10, three))
    earlier = ("SYSTEM.LOG2", hive_log.log_of_entries(states[0], 8, one, two))
    found = opened(hive_log.dirty(states[0]), later, earlier)
    assert services(found) == ["disk", "netkvm", "vioscsi", "viostor"]
    assert found.replayed is not None
    assert found.replayed.logs == ("SYSTEM.LOG2", "SYSTEM.LOG1")


def test_sequence_numbers_wrap_around(states: list[bytes]) -> None:
    one, two, three = entries(states, 0xFFFFFFFE)
    primary = hive_log.dirty(states[0], 0xFFFFFFFE, 0xFFFFFFFD)
    later = ("SYSTEM.LOG1", hive_log.log_of_entries(states[0], 0, three))
    earlier = ("SYSTEM.LOG2", hive_log.log_of_entries(states[0], 0xFFFFFFFE, one, two))
    assert len(services(opened(primary, later, earlier))) == 4


def test_a_torn_last_entry_is_left_out_as_windows_leaves_it(states: list[bytes]) -> None:
    log = hive_log.log_of_entries(states[0], 8, *entries(states))
    torn = log[:-1024] + b"\xff" * 1024
    found = opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", torn))
    assert services(found) == ["disk", "netkvm", "viostor"]


def test_an_entry_that_does_not_follow_ends_the_replay(states: list[bytes]) -> None:
    one, _, three = entries(states)
    log = hive_log.log_of_entries(states[0], 8, one, three)
    assert services(opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log))) == ["disk", "netkvm"]


def test_a_log_of_earlier_writes_holds_nothing_newer(states: list[bytes]) -> None:
    log = hive_log.log_of_entries(states[0], 3, *entries(states, 3))
    found = opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log))
    assert services(found) == ["disk"]
    assert found.replayed is not None
    assert "nothing newer" in found.replayed.words


@pytest.mark.parametrize("log", [b"", bytes(4096)])
def test_an_empty_log_holds_nothing(states: list[bytes], log: bytes) -> None:
    found = opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log), ("SYSTEM.LOG2", b""))
    assert services(found) == ["disk"]


def test_the_log_of_old_format_holds_the_changed_sectors(states: list[bytes]) -> None:
    pages = hive_log.changed_pages(states[0], states[2])
    primary = hive_log.dirty(states[0])
    log = bytearray(hive_log.log_of_pages(states[2], pages))
    assert services(opened(primary, ("SYSTEM.LOG1", bytes(log)), ("SYSTEM.LOG2", b""))) == [
        "disk",
        "netkvm",
        "viostor",
    ]


def test_a_hive_whose_base_block_is_torn_has_that_of_its_log(states: list[bytes]) -> None:
    broken = states[0][:40] + b"torn" + states[0][44:]
    pages = hive_log.changed_pages(states[0], states[2])
    of_old = ("SYSTEM.LOG1", hive_log.log_of_pages(states[2], pages))
    of_new = ("SYSTEM.LOG1", hive_log.log_of_entries(states[0], 8, *entries(states)[:2]))
    for log in (of_old, of_new):
        assert services(opened(broken, log)) == ["disk", "netkvm", "viostor"]
    with pytest.raises(GuestReadFailed, match="checksum"):
        opened(broken)


def test_a_hive_written_out_has_what_its_logs_held_and_is_whole_for_every_reader(
    states: list[bytes],
) -> None:
    import pyregf

    of_old = hive_log.log_of_pages(states[2], hive_log.changed_pages(states[0], states[2]))
    of_new = hive_log.log_of_entries(states[0], 8, *entries(states)[:2])
    broken = states[0][:40] + b"torn" + states[0][44:]
    for primary, log in (
        (hive_log.dirty(states[0]), of_old),
        (hive_log.dirty(states[0]), of_new),
        (broken, of_new),
    ):
        data = opened(primary, ("SYSTEM.LOG1", log)).written_out()
        again = opened(data, ("SYSTEM.LOG1", log))
        assert not again.dirty
        assert services(again) == ["disk", "netkvm", "viostor"]
        assert data[hive.PAGE :] == states[2][hive.PAGE :]
        other = pyregf.file()
        other.open_file_object(io.BytesIO(data))
        key = other.get_key_by_path(f"\\{SERVICES}")
        assert [it.name for it in key.sub_keys] == ["disk", "netkvm", "viostor"]
        other.close()


def test_a_hive_written_out_has_a_later_number_than_any_change_in_its_logs(states: list[bytes]) -> None:
    log = hive_log.log_of_entries(states[0], 0xFFFFFFFE, *entries(states, 0xFFFFFFFE)[:2])
    primary = hive_log.dirty(states[0], 0xFFFFFFFE, 0xFFFFFFFD)
    assert struct.unpack_from("<II", opened(primary, ("SYSTEM.LOG1", log)).written_out(), 4) == (0, 0)


def log_of_another_write(states: list[bytes]) -> bytes:
    pages = hive_log.changed_pages(states[0], states[2])
    return hive_log.log_of_pages(states[2], pages, written=hive.WRITTEN + 1)


def log_outside(states: list[bytes]) -> bytes:
    bad = hive_log.entry(8, [(1 << 30, bytes(4096))], len(states[0]) - hive.PAGE)
    return hive_log.log_of_entries(states[0], 8, bad)


def log_of_too_few_pages(states: list[bytes]) -> bytes:
    return hive_log.log_of_pages(states[2], hive_log.changed_pages(states[0], states[2]))[:-512]


def no_log(states: list[bytes]) -> bytes:
    return b"no log" * 1000


@pytest.mark.parametrize(
    "log", [log_of_another_write, log_outside, log_of_too_few_pages, no_log], ids=lambda it: it.__name__
)
def test_a_log_that_cannot_be_replayed_makes_the_whole_hive_unknown(log: object, states: list[bytes]) -> None:
    with pytest.raises(GuestReadFailed, match="was being written") as raised:
        opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log(states)))  # type: ignore[operator]
    assert "export the disk again" in raised.value.statement().en
    assert "重新导出" in raised.value.statement().zh


def test_garbage_beside_a_good_log_is_passed_over(states: list[bytes]) -> None:
    log = hive_log.log_of_entries(states[0], 8, *entries(states))
    found = opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log), ("SYSTEM.LOG2", b"x" * 5000))
    assert len(services(found)) == 4


def test_more_changes_than_are_replayed_make_the_hive_unknown(
    states: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hive_logs, "MOST_REPLAYED", 4096)
    for log in (
        hive_log.log_of_entries(states[0], 8, *entries(states)),
        hive_log.log_of_pages(states[2], hive_log.changed_pages(states[0], states[2])),
    ):
        with pytest.raises(GuestReadFailed, match=r"MiB of changes|too large"):
            opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", log))


def test_an_entry_of_four_gigabytes_ends_the_replay(states: list[bytes]) -> None:
    log = bytearray(hive_log.log_of_entries(states[0], 8, *entries(states)))
    struct.pack_into("<I", log, 512 + 4, 0xFFFFFE00)
    assert services(opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", bytes(log)))) == ["disk"]


@settings(max_examples=80)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 40]), old=st.booleans())
def test_a_log_with_changed_bytes_gives_a_state_that_was_or_an_error(
    states: list[bytes], seed: int, count: int, old: bool
) -> None:
    chosen = random.Random(seed)
    if old:
        log = bytearray(hive_log.log_of_pages(states[2], hive_log.changed_pages(states[0], states[2])))
    else:
        log = bytearray(hive_log.log_of_entries(states[0], 8, *entries(states)))
    for _ in range(count):
        log[chosen.randrange(min(len(log), chosen.choice([600, 1 << 20])))] = chosen.randrange(256)
    try:
        found = services(opened(hive_log.dirty(states[0]), ("SYSTEM.LOG1", bytes(log))))
    except CannotRead:
        return
    if not old:  # old logs have no hash over their pages
        names = ["disk", "netkvm", "viostor", "vioscsi"]
        assert found in [sorted(names[:count]) for count in (1, 2, 3, 4)]
