"""What doctor believes about a machine."""

from __future__ import annotations

from imgtool.doctor import Item, examine, ready
from imgtool.text import Text


def test_only_what_check_needs_decides() -> None:
    here, optional = Item("a", True, True, "1", Text.same("a")), Item("b", False, False, "", Text.same("b"))
    assert ready([here, optional])
    assert not ready([here, Item("c", False, True, "", Text.same("c"))])


def test_what_is_missing_comes_with_a_remedy_in_both_languages() -> None:
    for item in examine():
        assert item.purpose.en
        assert item.purpose.zh
        assert (item.remedy is None) == item.present, item.name


def test_what_rehearse_and_the_cloud_need_is_listed_and_not_required() -> None:
    optional = {item.name for item in examine() if not item.required}
    sdks = {"tencentcloud-sdk-python-cvm", "cos-python-sdk-v5", "boto3", "aiohttp"}
    assert optional >= {"ovmf", "dissect.btrfs", "qemu-system-x86_64", *sdks}
