"""CRC-64 of parts, put together, against CRC-64 of the whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imgtool.cloud.crc64 import combined
from imgtool.convert.crc64 import crc64_function


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_the_parts_give_the_crc_of_the_whole(parts: list[bytes]) -> None:
    crc64 = crc64_function()
    assert crc64 is not None
    assert combined((crc64(part, 0), len(part)) for part in parts) == crc64(b"".join(parts), 0)


def test_the_check_value_of_crc64_xz() -> None:
    # "123456789" gives 995dc9bbdf1939fa (https://reveng.sourceforge.io/crc-catalogue/17plus.htm)
    crc64 = crc64_function()
    assert crc64 is not None
    halves = [b"1234", b"56789"]
    assert combined((crc64(half, 0), len(half)) for half in halves) == 0x995DC9BBDF1939FA
