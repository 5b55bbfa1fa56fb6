"""cloudbase-init.conf as it is written back: in the code page that cloudbase-init reads it in."""

from __future__ import annotations

import pytest

from imgtool.repair.fixes.windows_cloudbase_init import readable, with_setting

CHINESE = "# \u8fc1\u79fb\u524d\r\n[DEFAULT]\r\nusername=x\r\n"


@pytest.mark.parametrize("there", ["utf-8", "utf-8-sig", "utf-16", "gbk"])
def test_whatever_encoding_it_had_it_is_written_in_the_system_s(there: str) -> None:
    text, encoding = readable(CHINESE.encode(there), (), "gbk")
    assert (text, encoding) == (CHINESE, "gbk")


def test_bytes_of_an_unknown_code_page_come_back_as_they_are() -> None:
    data = CHINESE.encode("gbk")
    text, encoding = readable(data, (), None)
    assert text.encode(encoding) == data


def test_lines_are_counted_as_the_program_counts_them() -> None:
    data = b"[DEFAULT]\r\na=1\x0c2\r\nnonsense\r\n"
    text, _ = readable(data, ((3, "nonsense"),), None)
    assert text == "[DEFAULT]\r\na=1\x0c2\r\n# nonsense\r\n"
    assert with_setting(text, "b", "2") == "[DEFAULT]\r\nb=2\r\na=1\x0c2\r\n# nonsense\r\n"
