from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest.cloud_config import CloudConfig, NotYaml, parse_mapping, read_cloud_config
from tests.guest.memory_tree import MemoryTree


def read(files: dict[str, Any]) -> CloudConfig:
    return read_cloud_config(MemoryTree({"/etc/hostname": "x", **files}))  # type: ignore[arg-type]


MAIN = "/etc/cloud/cloud.cfg"
PART = "/etc/cloud/cloud.cfg.d/"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("datasource_list: [ ConfigDrive, None ]", ("ConfigDrive", "None")),
        ("datasource_list: ['ConfigDrive', \"Ec2\"]", ("ConfigDrive", "Ec2")),
        ("datasource_list:\n  - ConfigDrive\n  - None\n", ("ConfigDrive", "None")),
        ("datasource_list:\n- NoCloud # c\n", ("NoCloud",)),
        ("datasource_list: [ ConfigDrive,\n  OpenStack ]\n", ("ConfigDrive", "OpenStack")),
        ("datasource_list: []", ()),
        ("datasource_list:", ()),
        ("a: &x NoCloud\ndatasource_list: [*x]", ("NoCloud",)),
        ("users: [default]", None),
        ("# nothing", None),
    ],
)
def test_the_list_is_read_however_yaml_writes_it(text: str, names: tuple[str, ...] | None) -> None:
    assert read({MAIN: text}).datasource_list == names


def test_the_last_file_by_name_that_has_the_list_counts_and_is_named() -> None:
    config = read(
        {
            MAIN: "datasource_list: [A]\n",
            PART + "10_a.cfg": "datasource_list: [B]\n",
            PART + "90_b.cfg": "# c\n\ndatasource_list: [C]\n",
            PART + "95_c.cfg": "users: []\n",
            PART + "99.txt": "datasource_list: [D]\n",
        }
    )
    assert config.datasource_list == ("C",)
    assert config.places["datasource_list"] == f"{PART}90_b.cfg:3"


def test_mappings_are_merged_and_lists_replaced() -> None:
    config = read(
        {
            MAIN: "system_info: {distro: debian, paths: {a: 1, b: 2}}\nmods: [x, y]\n",
            PART + "1.cfg": "system_info: {paths: {b: 3}}\nmods: [z]\n",
        }
    )
    assert config.values["system_info"] == {"distro": "debian", "paths": {"a": "1", "b": "3"}}
    assert config.values["mods"] == ["z"]


@pytest.mark.parametrize(
    "text", ["a: [1\nb: 2", "\ta: 1", "- a\n- b", "just words", "a: 1\n---\nb: 2", "a: *nowhere", "a: \x01"]
)
def test_a_file_that_is_no_mapping_is_ignored_and_named(text: str) -> None:
    config = read({MAIN: "datasource_list: [A]\n", PART + "50_bad.cfg": text})
    assert [file.path for file in config.ignored] == [PART + "50_bad.cfg"]
    assert config.ignored[0].why
    assert config.datasource_list == ("A",)


def test_another_folder_may_be_named_for_the_parts() -> None:
    config = read({MAIN: "conf_d: /etc/mine\n", "/etc/mine/a.cfg": "datasource_list: [X]\n"})
    assert config.datasource_list == ("X",)


def test_ds_identify_has_its_policy_and_its_one_source() -> None:
    text = "# c\npolicy: search,found=all,notfound=disabled\ndatasource: Ec2 # only\n"
    config = read({"/etc/cloud/ds-identify.cfg": text})
    assert (config.policy, config.datasource) == ("search,found=all,notfound=disabled", "Ec2")


def test_a_guest_without_configuration_has_none() -> None:
    config = read({})
    assert (config.values, config.datasource_list, config.policy) == ({}, None, "")


@pytest.mark.parametrize("text", ["[" * 200_000, "{" * 200_000, "- " * 100_000, "a: " + "[" * 50 + "]" * 50])
def test_nesting_without_end_is_refused_at_once(text: str) -> None:
    with pytest.raises(NotYaml):
        parse_mapping(text)


def test_aliases_are_not_multiplied() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(12)
    )
    assert parse_mapping(bomb)[0]["m"] == [None] * 10


def test_more_configuration_than_a_guest_can_have_is_not_read() -> None:
    with pytest.raises(CannotRead):
        read({MAIN: "a: 1", **{f"{PART}{n}.cfg": "#" * 1_000_000 for n in range(6)}})


NAMES = st.text("abcXYZ_", min_size=1, max_size=8)


@given(st.dictionaries(NAMES, st.one_of(NAMES, st.lists(NAMES, max_size=4)), max_size=5))
@settings(max_examples=60)
def test_what_yaml_writes_comes_back(values: dict[str, Any]) -> None:
    import yaml

    text = yaml.safe_dump(values)
    found, lines = parse_mapping(text)
    assert found == values
    assert all(text.splitlines()[line - 1].startswith(name) for name, line in lines.items() if values)


@given(st.text(max_size=200))
@settings(max_examples=150)
def test_no_text_is_too_strange(text: str) -> None:
    with contextlib.suppress(NotYaml):
        parse_mapping(text)
