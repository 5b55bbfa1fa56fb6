"""Where the cloud is: command line before IMGTOOL_*, before the configuration file; keys in none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.cloud.address import Address, address
from imgtool.cloud.credentials import Credentials
from imgtool.cloud.settings import byte_count, byte_rate, config_path, settings
from imgtool.errors import UsageError


def given(tmp_path: Path, content: str, **env: str) -> dict[str, str]:
    path = tmp_path / "config.toml"
    path.write_text(content, encoding="utf-8")
    return {"IMGTOOL_CONFIG": str(path), **env}


def test_the_nearer_wins(tmp_path: Path) -> None:
    env = given(
        tmp_path, 'region = "file"\nbucket = "file-1250000000"\nscheme = "http"\n', IMGTOOL_REGION="env"
    )
    found = settings({"scheme": "https", "region": None}, env)
    assert (found.region, found.bucket, found.scheme) == ("env", "file-1250000000", "https")


@pytest.mark.parametrize("name", ["secret_id", "secret_key", "token", "aws_secret_access_key", "SecretKey"])
def test_keys_in_the_configuration_are_refused_without_being_repeated(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="keys do not belong into it") as caught:
        settings({}, given(tmp_path, f'{name} = "AKIDverysecret"\n'))
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("region =", "not TOML"),
        ("colour = 'red'", "no setting colour"),
        ("region = 5", "a text in quotes"),
        ("scheme = 'ftp'", "http or https"),
        ("ca_bundle = '/missing'", "can't be read"),
    ],
)
def test_a_configuration_that_is_wrong_says_what_is(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings({}, given(tmp_path, content))


def test_the_configuration_is_where_the_desktop_s_rules_say() -> None:
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/imgtool/config.toml")
    assert config_path({"HOME": "/home/eve"}) == Path("/home/eve/.config/imgtool/config.toml")


@pytest.mark.parametrize(
    ("text", "count"),
    [("8M", 8 << 20), ("8MiB", 8 << 20), ("1.5k", 1536), ("10MB/s", 10 << 20), ("700", 700), ("2G", 2 << 30)],
)
def test_sizes_are_powers_of_1024(text: str, count: int) -> None:
    assert byte_count(text) == count


@pytest.mark.parametrize(
    ("text", "count"), [("100Mbps", 12_500_000), ("8kbit/s", 1000), ("1Gbit", 125_000_000), ("2M/s", 2 << 20)]
)
def test_a_line_s_rate_is_in_bits_and_powers_of_1000(text: str, count: int) -> None:
    assert byte_rate(text) == count


@pytest.mark.parametrize("text", ["", "M", "-5M", "0", "fast", "5 parsecs"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        byte_rate(text)


def test_a_folder_gets_the_file_s_name() -> None:
    assert address("cos://b-12345/f/", "i.qcow2") == Address("cos", "b-12345", "f/i.qcow2")
    assert str(address("s3://bucket/镜像")) == "s3://bucket/镜像"


@pytest.mark.parametrize(
    "text",
    [
        *("", "bucket/key", "http://b-12345/k", "cos://b/k", "cos://B-12345/k", "cos://b-12345/../k"),
        *("s3://x/", "cos://b-12345//k", "cos://b-12345/" + "k" * 851),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        address(text)


def test_keys_do_not_show_when_printed() -> None:
    assert "hunter2" not in repr(Credentials("hunter2", "hunter2", "hunter2"))
