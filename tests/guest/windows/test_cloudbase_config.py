from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fixtures.windows
from imgtool.guest.windows.cloudbase_config import differences, extras, items_of, read_config
from imgtool.profiles import load_profile

PAGE = (Path(fixtures.windows.__file__).with_name("cloudbase.conf")).read_text()
LIMITS = load_profile("tce").windows.cloudbase_init
ALL = {**LIMITS.required, **LIMITS.recommended}


def wrong(text: str | bytes) -> list[str]:
    config = read_config(text if isinstance(text, bytes) else text.encode())
    return [it.name for it in differences(config, ALL)]


def test_the_platforms_own_page_has_every_setting() -> None:
    assert wrong(PAGE) == []
    assert read_config(PAGE.encode()).mistakes == ()


def test_the_order_and_the_modules_of_plugins_do_not_matter() -> None:
    line = next(it for it in PAGE.splitlines() if it.startswith("plugins="))
    plugins = items_of(line.partition("=")[2])
    older = [it.replace(".common.", ".windows.") for it in reversed(plugins)]
    changed = PAGE.replace(line, "plugins = " + ",\n    ".join(older))
    assert wrong(changed) == []


def test_extra_plugins_are_allowed_and_named() -> None:
    changed = PAGE.replace(
        "plugins=", "plugins=cloudbaseinit.plugins.windows.rdp.RDPPostCertificateThumbprintPlugin,"
    )
    assert wrong(changed) == []
    assert extras(read_config(changed.encode()), ALL) == ["RDPPostCertificateThumbprintPlugin"]


def test_options_that_the_page_does_not_have_are_allowed_and_named() -> None:
    assert extras(read_config(PAGE.encode()), ALL) == []
    changed = f"{PAGE}\ntrim_enabled=true\n[openstack]\nmetadata_base_url=http://169.254.0.23/\nadd=1\n"
    assert wrong(changed) == []
    assert extras(read_config(changed.encode()), ALL) == ["trim_enabled", "[openstack] add"]


@pytest.mark.parametrize("name", ALL)
def test_each_setting_that_differs_is_named(name: str) -> None:
    lines = [f"{name}=other" if it.startswith(f"{name}=") else it for it in PAGE.splitlines()]
    assert wrong("\n".join(lines)) == [name]


def test_what_cloudbase_init_does_by_itself_need_not_be_written() -> None:
    without = "\n".join(
        it for it in PAGE.splitlines() if not it.startswith(("allow_reboot", "config_drive_cdrom"))
    )
    assert wrong(without) == []
    assert wrong(PAGE.replace("username=Administrator\n", "")) == ["username"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("allow_reboot=true", "allow_reboot = Yes"),
        ("retry_count_interval=5", "retry_count_interval: 5.0"),
        ("metadata_base_url=http://169.254.0.23/", "metadata_base_url=http://169.254.0.23"),
        ("logdir=C:\\Program Files", "logdir=c:\\program files"),
        ('kms_host="kms.finance', "kms_host='kms.finance"),
        ("volumes_to_extend=1,2,3", "volumes_to_extend=3, 1, 2"),
    ],
)
def test_values_count_by_their_meaning(old: str, new: str) -> None:
    changed = PAGE.replace(old, new)
    assert changed != PAGE
    if "kms" in old:
        changed = changed.replace('tencent.com"', "tencent.com'")
    assert wrong(changed) == []


def test_later_names_of_options_count_first() -> None:
    later = PAGE + "\n[ec2]\nmetadata_base_url = http://10.0.0.1/\n[config_drive]\nraw_hdd = true\n"
    assert wrong(later) == ["ec2_metadata_base_url"]


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (("\ufeff" + PAGE.replace("\n", "\r\n")).encode("utf-16-le"), "utf-16"),
        (("\ufeff" + PAGE).encode("utf-16-be"), "utf-16"),
        (PAGE.encode("utf-16-le"), "utf-16"),
        (b"\xef\xbb\xbf" + PAGE.encode(), "utf-8 with byte order mark"),
        (PAGE.encode(), "text"),
    ],
)
def test_the_encoding_is_told_and_what_it_says_as_well(data: bytes, encoding: str) -> None:
    config = read_config(data)
    assert config.encoding == encoding
    assert differences(config, ALL) == []


def test_a_file_of_zeros_is_no_utf_16_and_no_setting() -> None:
    config = read_config(bytes(4096))
    assert config.encoding == "text"
    assert config.mistakes


def test_a_value_of_a_hundred_thousand_lines_is_one_value() -> None:
    config = read_config(b"[DEFAULT]\nplugins=a\n" + b" b\n" * 100_000)
    setting = config.get("plugins")
    assert setting is not None
    assert len(items_of(setting.value)) == 100_001


@pytest.mark.parametrize("line", ["no setting at all", "=value", "[unclosed"])
def test_a_line_that_is_no_setting_is_a_mistake_with_its_number(line: str) -> None:
    config = read_config(f"[DEFAULT]\nusername=x\n{line}\n".encode())
    assert config.mistakes == ((3, line),)


@given(st.binary(max_size=300))
def test_any_file_can_be_read(data: bytes) -> None:
    differences(read_config(data), ALL)
    read_config(b"[DEFAULT]\r\n" + data)
