"""Hives made by hivex, read by ours; damaged hives give typed errors, in bounded time."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.windows import damage, hive, releases, system
from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.windows.registry import Hive, Key

KEYS = {
    "Select": {"Current": hive.dword(2), "Failed": hive.sz("x")},
    "ControlSet002\\Services\\业务服务": {
        "DisplayName": hive.sz("数据同步"),
        "ImagePath": hive.expand("%SystemRoot%\\x.exe"),
        "DependOnService": hive.multi("RpcSs", "网络"),
        "Start": hive.dword(2),
        "State": hive.binary(bytes(range(256)) * 300),
        "": hive.sz("default"),
    },
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hive") / "SYSTEM"
    hive.make_hive(path, KEYS, "SYSTEM")
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hive") / "SYSTEM"
    hive.make_hive(path, system.system_hive(releases.RELEASES["2012r2"], signature=1), "SYSTEM")
    return path.read_bytes()


def opened(data: bytes) -> Hive:
    return Hive(io.BytesIO(data), "/SYSTEM")


def key(data: bytes, path: str) -> Key:
    found = opened(data).key(path)
    assert found is not None, path
    return found


def test_keys_are_found_in_any_case_and_script(small: bytes) -> None:
    for path in ("ControlSet002\\Services\\业务服务", "CONTROLSET002\\services\\业务服务"):
        assert key(small, path).path == "ControlSet002\\Services\\业务服务"
    assert opened(small).key("ControlSet002\\Services\\absent") is None
    assert opened(small).key("ControlSet001\\Services") is None


def test_values_come_by_their_type(small: bytes) -> None:
    service = key(small, "ControlSet002\\Services\\业务服务")
    assert service.text("displayname") == "数据同步"
    assert service.text("ImagePath") == "%SystemRoot%\\x.exe"
    assert service.texts("DependOnService") == ("RpcSs", "网络")
    assert service.number("Start") == 2
    assert service.data("State") == bytes(range(256)) * 300
    assert service.text("") == "default"


def test_a_value_that_windows_split_into_segments_comes_whole(tmp_path: Path) -> None:
    path, placeholder = tmp_path / "SYSTEM", b"a placeholder for the value"
    large = random.Random(3).randbytes(100_000)
    hive.make_hive(path, {"Key": {"Large": hive.binary(placeholder), "Small": hive.dword(7)}})
    hive.split_value(path, placeholder, large)
    assert key(path.read_bytes(), "Key").data("Large") == large
    assert key(path.read_bytes(), "Key").number("Small") == 7


def test_a_value_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    path, placeholder = tmp_path / "SYSTEM", b"a placeholder for the value"
    hive.make_hive(path, {"Key": {"Large": hive.binary(placeholder), "Small": hive.dword(7)}})
    hive.split_value(path, placeholder, bytes(50_000))
    data = bytearray(path.read_bytes())
    at = data.index(b"db\x04\0")
    data[at : at + 2] = b"xx"
    found = key(bytes(data), "Key")
    assert found.number("Small") == 7
    with pytest.raises(GuestReadFailed):
        found.data("Large")


def test_a_value_of_another_type_is_none_and_not_a_guess(small: bytes) -> None:
    select = key(small, "Select")
    assert select.number("Failed") is None
    assert select.text("Current") is None
    assert select.texts("Current") is None
    assert select.number("absent") is None


def test_libregf_reads_the_same_of_a_whole_hive(whole: bytes) -> None:
    import pyregf

    other = pyregf.file()
    other.open_file_object(io.BytesIO(whole))
    assert list(everything(opened(whole).root)) == list(everything_by_libregf(other.get_root_key(), ""))
    other.close()


def everything(top: Key) -> Iterator[tuple[str, str, int, bytes]]:
    for name in sorted(top.values()):
        yield top.path, name, top.type_of(name) or 0, top.data(name) or b""
    for below in top.keys():  # noqa: SIM118 - a method
        yield from everything(below)


def everything_by_libregf(top: Any, path: str) -> Iterator[tuple[str, str, int, bytes]]:
    for value in sorted(top.values, key=lambda it: it.name or ""):
        yield path, value.name or "", value.type, value.data or b""
    for below in top.sub_keys:
        yield from everything_by_libregf(below, f"{path}\\{below.name}".lstrip("\\"))


@pytest.mark.parametrize("data", [b"", b"regf", bytes(8192), b"hbin" + bytes(8192)])
def test_what_is_no_hive_is_damage(data: bytes) -> None:
    with pytest.raises(GuestReadFailed, match="is damaged"):
        opened(data)


def test_a_key_that_holds_itself_is_damage(whole: bytes) -> None:
    data = bytearray(whole)
    damage._cyclic(data)
    services = opened(bytes(data)).key("ControlSet002\\Services")
    assert services is not None
    with pytest.raises(GuestReadFailed, match="its own subkey"):
        list(services.keys())


def test_a_cell_of_two_to_the_31_is_damage(whole: bytes) -> None:
    data = bytearray(whole)
    damage._huge_cell(data)
    with pytest.raises(GuestReadFailed):
        opened(bytes(data)).key("ControlSet002\\Services")


def test_a_truncated_hive_never_lacks_keys_in_silence(whole: bytes) -> None:
    for part in (4096, len(whole) // 3, len(whole) // 2, len(whole) - 4096):
        with pytest.raises(GuestReadFailed):
            list(walk(opened(whole[:part]).root))


def walk(top: Key, depth: int = 0, budget: int = 5000) -> list[str]:
    found = []
    for below in top.keys():  # noqa: SIM118 - a method
        found.append(below.path)
        for name in below.values():
            below.text(name), below.number(name), below.texts(name), below.data(name)
        if depth < 12 and len(found) < budget:
            found += walk(below, depth + 1, budget - len(found))
    return found


def test_hundreds_of_services_come_whole(whole: bytes) -> None:
    services = key(whole, "ControlSet002\\Services")
    names = services.names()
    assert len(names) > 400
    assert "业务服务0010" in names
    assert len(walk(opened(whole).root)) > 900


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 20]))
def test_whatever_bytes_are_changed_only_a_typed_error_comes(small: bytes, seed: int, count: int) -> None:
    chosen = random.Random(seed)
    data = bytearray(small)
    used = [at for at in range(16384) if data[at]]
    for _ in range(count):
        at = chosen.choice(used)
        data[at : at + 4] = chosen.choice(
            [b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\xff" * 4, b"\0" * 4, b"\x20\0\0\0", chosen.randbytes(4)]
        )
    with contextlib.suppress(CannotRead):
        walk(opened(bytes(data)).root)
