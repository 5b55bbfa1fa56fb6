"""Hives made to mislead or to exhaust their reader: a typed error, or the truth, for a bounded price."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.process import peak_memory
from fixtures.windows.cells import NOWHERE, HandMade, node, services_without_end
from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.windows import hive_file
from imgtool.guest.windows.registry import Hive, Key
from imgtool.guest.windows.services import read_services

MANY = 65_535
BINARY, STRING = 3, 1


def opened(data: bytes) -> Hive:
    return Hive(io.BytesIO(data), "/SYSTEM")


def one_key_many_times() -> bytes:
    made = HandMade()
    one = made.key(b"one")
    return made.data(subkeys=(MANY, made.leaf(b"lf", [one] * MANY)))


def lists_many_times() -> bytes:
    """A list of 65,535 lists, each the same of 60,000 keys: four billion keys in half a megabyte."""
    made = HandMade()
    leaf = made.leaf(b"li", [made.key(b"one")] * 60_000)
    return _roots(made, [leaf] * MANY, MANY * 60_000)


def few_lists_many_times() -> bytes:
    """The same, with a number of subkeys that is allowed."""
    made = HandMade()
    leaf = made.leaf(b"li", [made.key(b"one")] * 60_000)
    return _roots(made, [leaf] * MANY, 100_000)


def _roots(made: HandMade, lists: list[int], count: int) -> bytes:
    root = made.cell(b"ri" + struct.pack(f"<H{len(lists)}I", len(lists), *lists))
    return made.data(subkeys=(count, root))


def list_of_itself() -> bytes:
    made = HandMade()
    own = 32  # the first cell
    assert made.cell(b"ri" + struct.pack("<HI", 1, own)) == own
    return made.data(subkeys=(1, own))


def list_cycle() -> bytes:
    made = HandMade()
    made.cell(b"ri" + struct.pack("<HI", 1, 48))
    made.cell(b"ri" + struct.pack("<HI", 1, 32))
    return made.data(subkeys=(1, 32))


def long_name() -> bytes:
    made = HandMade()
    key = made.key("名".encode("utf-16-le") * 32_767, flags=0)
    return made.data(subkeys=(1, made.leaf(b"lf", [key])))


def short_list() -> bytes:
    made = HandMade()
    return made.data(subkeys=(2, made.leaf(b"lf", [made.key(b"one")])))


def unused_cell() -> bytes:
    made = HandMade()
    key = made.cell(node(b"one", (0, NOWHERE), (0, NOWHERE), 0x20, None), size=88)
    return made.data(subkeys=(1, made.leaf(b"lf", [key])))


def name_beyond_cell() -> bytes:
    made = HandMade()
    return made.data(subkeys=(1, made.leaf(b"lf", [made.key(b"one", name_length=200)])))


def nameless() -> bytes:
    made = HandMade()
    return made.data(subkeys=(1, made.leaf(b"lf", [made.key(b"")])))


DAMAGED: list[Callable[[], bytes]] = [
    one_key_many_times,
    lists_many_times,
    few_lists_many_times,
    list_of_itself,
    list_cycle,
    long_name,
    short_list,
    unused_cell,
    name_beyond_cell,
    nameless,
]


@pytest.mark.parametrize("made", DAMAGED, ids=lambda it: it.__name__)
def test_subkeys_that_contradict_themselves_are_damage_for_who_lists_and_who_looks(
    made: Callable[[], bytes],
) -> None:
    data = made()
    with pytest.raises(GuestReadFailed, match="is damaged"):
        opened(data).root.names()
    with pytest.raises(GuestReadFailed, match="is damaged"):
        opened(data).key("absent")


@pytest.mark.parametrize("size", [1 << 31, 0x7FFFFFF8, -(1 << 30), -4, 0, 7])
def test_a_cell_of_any_wrong_size_is_damage(size: int) -> None:
    made = HandMade()
    key = made.cell(node(b"one", (0, NOWHERE), (0, NOWHERE), 0x20, None), size=size)
    with pytest.raises(GuestReadFailed, match="is damaged"):
        opened(made.data(subkeys=(1, made.leaf(b"lf", [key])))).root.names()


def values(*of: tuple[bytes, int, int, int], minor: int = 5, made: HandMade | None = None) -> Key:
    made = made or HandMade(minor)
    listed = made.list([made.value(*each) for each in of])
    return opened(made.data(values=(len(of), listed))).root


def test_a_value_that_says_two_gigabytes_hides_no_other() -> None:
    made = HandMade()
    place = made.cell(b"four")
    key = values((b"Huge", STRING, 0x7FFFFFFF, place), (b"Good", 4, 0x80000004, 7), made=made)
    assert key.number("Good") == 7
    for ask in (key.text, key.data):
        with pytest.raises(GuestReadFailed):
            ask("Huge")
    assert key.number("Huge") is None


def test_a_value_in_place_holds_four_bytes_and_no_more() -> None:
    key = values((b"A", BINARY, 0x80000002, 0x0201), (b"B", BINARY, 0x80000005, 1))
    assert key.data("A") == b"\1\2"
    with pytest.raises(GuestReadFailed):
        key.data("B")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (3, 3 * 16_344 + 1),  # one part too few
        (0, 20_000),
        (60_000, 20_000),
        (2, 2 * 16_344 + 1),
    ],
)
def test_a_split_value_whose_parts_do_not_add_up_is_damage(parts: int, said: int) -> None:
    made = HandMade()
    part = made.cell(bytes(16_344))
    place = made.cell(struct.pack("<2sHII", b"db", parts, made.list([part] * min(parts, 4)), 0))
    with pytest.raises(GuestReadFailed, match="is damaged"):
        values((b"Split", BINARY, said, place), made=made).data("Split")


def test_a_split_value_of_two_gigabytes_is_not_read() -> None:
    made = HandMade()
    place = made.cell(struct.pack("<2sHII", b"db", MANY, made.list([made.cell(bytes(16_344))] * 9), 0))
    key = values((b"Split", BINARY, 0x7FFFFFFF, place), made=made)
    with pytest.raises(GuestReadFailed):
        key.data("Split")


def test_a_string_is_cut_where_no_path_is_longer() -> None:
    made = HandMade()
    long = ("长" * 300_000).encode("utf-16-le")
    key = values((b"Long", STRING, len(long), made.cell(long)), minor=3, made=made)
    assert key.text("Long") == "长" * 32_767


def test_a_hive_that_spends_its_budget_says_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    made = HandMade()
    keys = [made.key(b"%05d" % number) for number in range(3000)]
    hive = opened(made.data(subkeys=(3000, made.leaf(b"li", keys))))
    assert len(hive.root.names()) == 3000
    monkeypatch.setattr(hive.root._hive, "_cells_left", 2000)
    with pytest.raises(GuestReadFailed, match="exhaust"):
        hive.root.names()
    for name in ("00001", "absent"):
        with pytest.raises(GuestReadFailed, match="exhaust"):
            hive.key(name)


def deep_and_shared() -> bytes:
    """Thirty levels of ten keys that all have the same ten below them: 10^30 paths."""
    made = HandMade()
    below = (0, NOWHERE)
    for _ in range(30):
        keys = [made.key(b"%d" % number, subkeys=below) for number in range(10)]
        below = (10, made.leaf(b"li", keys))
    return made.data(subkeys=below)


READ = """
import sys
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.windows.registry import Hive
from imgtool.guest.windows.services import read_services

def walk(key):
    for below in key.keys():
        walk(below)

hive = Hive(open(sys.argv[1], "rb"), "/SYSTEM")
failed = 0
for read in (lambda: read_services(hive.root), lambda: walk(hive.root)):
    try:
        read()
    except GuestReadFailed:
        failed += 1
sys.exit(not failed)
"""


@pytest.mark.parametrize(
    "made", [services_without_end, deep_and_shared, few_lists_many_times], ids=lambda it: it.__name__
)
def test_what_has_no_end_is_bounded_in_memory_too(made: Callable[[], bytes], tmp_path: Path) -> None:
    path = tmp_path / "SYSTEM"
    path.write_bytes(made())
    assert peak_memory([sys.executable, "-c", READ, str(path)]) < 320 << 20


def test_a_hive_whose_cells_make_its_reader_fetch_without_end_says_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = HandMade()
    keys = [made.key(b"%05d" % number) for number in range(5000)]
    apart = [key for first in range(50) for key in keys[first::50]]
    data = made.data(subkeys=(5000, made.leaf(b"li", apart)))
    assert len(opened(data).root.names()) == 5000
    monkeypatch.setattr(hive_file, "_KEPT_CHUNKS", 2)
    monkeypatch.setattr(hive_file, "MOST_CHUNKS", 1000)
    with pytest.raises(GuestReadFailed, match="exhaust"):
        opened(data).root.names()


def test_services_are_unknown_where_their_hive_has_no_end() -> None:
    with pytest.raises(GuestReadFailed, match="exhaust"):
        read_services(opened(services_without_end()).root)


def test_a_hive_larger_than_windows_takes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "SYSTEM"
    path.write_bytes(HandMade().data())
    with path.open("r+b") as file:
        file.truncate(hive_file.LARGEST_HIVE + 1)
        with pytest.raises(GuestReadFailed, match="damaged"):
            Hive(file, "/SYSTEM")


@settings(max_examples=150)
@given(st.data())
def test_any_web_of_cells_gives_a_typed_error_or_names(data: st.DataObject) -> None:
    """Lists and keys that point anywhere, at each other and at themselves."""
    made = HandMade()
    places = st.sampled_from([*range(32, 2032, 8), 0, NOWHERE, 0x7FFFFFF8])
    for _ in range(data.draw(st.integers(1, 8))):
        kind = data.draw(st.sampled_from([b"nk", b"li", b"lf", b"lh", b"ri", b"vk", b"db"]))
        if kind == b"nk":
            subkeys = data.draw(st.integers(0, 3)), data.draw(places)
            made.key(b"k", subkeys=subkeys, values=(data.draw(st.integers(0, 3)), data.draw(places)))
        elif kind == b"vk":
            made.value(
                b"v", data.draw(st.integers(0, 8)), data.draw(st.integers(0, 2**32 - 1)), data.draw(places)
            )
        else:
            made.leaf(kind, data.draw(st.lists(places, max_size=4)))
    whole = made.data(
        subkeys=(data.draw(st.integers(0, 3)), data.draw(places)),
        values=(data.draw(st.integers(0, 3)), data.draw(places)),
    )
    found: list[str] = []

    def walk(key: Key, depth: int = 0) -> None:
        for name in key.values():
            key.text(name), key.number(name), key.texts(name), key.data(name)
        for below in key.keys():  # noqa: SIM118 - a method
            found.append(below.path)
            if depth < 6 and len(found) < 500:
                walk(below, depth + 1)

    try:
        walk(opened(whole).root)
    except CannotRead as error:
        said = error.statement()
        assert said.en.endswith("."), said.en
        assert said.zh.endswith("。"), said.zh
