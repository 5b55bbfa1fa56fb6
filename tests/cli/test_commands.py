"""The commands around `check`: version, help, completion, inspect, doctor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import imgtool as package
from imgtool.disk.formats.image_file import beyond_the_end
from imgtool.text import Text
from tests.cli.running import PROJECT, environment, imgtool, qcow2


def test_version_is_one_line() -> None:
    for arguments in (["--version"], ["--version", "check"]):
        done = imgtool(*arguments)
        assert (done.returncode, done.stdout) == (0, f"imgtool {package.__version__}\n")


@pytest.mark.parametrize("command", ["check", "inspect", "doctor", "completion"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help_with_an_example(command: str, option: str) -> None:
    done = imgtool(command, option)
    assert done.returncode == 0
    assert f"imgtool {command} " in done.stdout.partition("\n")[2] or command == "doctor"
    assert "Usage: imgtool" in done.stdout


def test_help_lists_the_commands() -> None:
    done = imgtool("-h")
    assert done.returncode == 0
    for command in ("check", "inspect", "doctor", "completion"):
        assert f"\n  {command} " in done.stdout


def test_an_unknown_command_is_wrong_usage() -> None:
    done = imgtool("chekc")
    assert done.returncode == 2
    assert "chekc" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_a_script_of_its_shell(shell: str, tmp_path: Path) -> None:
    done = imgtool("completion", shell)
    assert done.returncode == 0
    assert "imgtool" in done.stdout
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([shell, "-n", str(script)], check=True)


def test_completion_completes_commands_and_options() -> None:
    def completed(words: str, at: int) -> str:
        line = {"_IMGTOOL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return imgtool(env=environment(**line)).stdout

    assert "plain,check" in completed("imgtool ch", 1)
    assert "plain,--fail-on" in completed("imgtool check --fa", 2)


def validator(name: str) -> Draft202012Validator:
    schemas = {file.name: json.loads(file.read_text()) for file in (PROJECT / "docs").glob("*.schema.json")}
    registry: Any = Registry().with_resources(
        (each, Resource.from_contents(content)) for each, content in schemas.items()
    )
    return Draft202012Validator(schemas[name], registry=registry)


def partitioned(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(64 << 20)
    script = "label: gpt\nsize=16MiB, type=uefi\ntype=linux\n"
    subprocess.run(["sfdisk", "-q", str(path)], input=script, text=True, check=True)
    return path


def test_inspect_holds_to_its_schema_and_counts_in_bytes(tmp_path: Path) -> None:
    done = imgtool("inspect", "-f", "json", partitioned(tmp_path / "disk.raw"))
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(done.stdout)
    validator("inspect-v1.schema.json").validate(content)
    facts = content["images"][0]["facts"]
    assert facts["partition_table"] == "gpt"
    assert next((it["number"], it["length"]) for it in facts["partitions"]) == (1, 16 << 20)


def test_inspect_shows_partitions_to_people(tmp_path: Path) -> None:
    done = imgtool("inspect", partitioned(tmp_path / "disk.raw"))
    assert "GPT" in done.stdout
    assert "16 MiB" in done.stdout


def test_inspect_in_chinese(tmp_path: Path) -> None:
    assert "分区表" in imgtool("inspect", "--lang", "zh", partitioned(tmp_path / "disk.raw")).stdout


@pytest.mark.parametrize("form", ["check", "inspect"])
def test_json_of_images_that_cannot_be_read_holds_to_the_schema(tmp_path: Path, form: str) -> None:
    done = imgtool(form, "-f", "json", tmp_path / "none", qcow2(tmp_path / "a.qcow2"))
    name = "report-v1.schema.json" if form == "check" else "inspect-v1.schema.json"
    validator(name).validate(json.loads(done.stdout))


def test_doctor_is_content_where_everything_is_there() -> None:
    done = imgtool("doctor")
    assert done.returncode == 0, done.stdout
    assert "qemu-nbd" in done.stdout


def test_doctor_names_the_package_of_what_is_missing(tmp_path: Path) -> None:
    done = imgtool("doctor", "-f", "json", env=environment(PATH=str(tmp_path)))
    assert done.returncode == 4
    content = json.loads(done.stdout)
    assert content["ready"] is False
    (missing,) = [it for it in content["machine"] if it["name"] == "qemu-nbd"]
    assert (missing["present"], missing["remedy"]) == (False, "apt-get install qemu-utils")


def test_starting_loads_neither_rich_nor_rules() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "imgtool",
            "--version",
        ],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    loaded = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
    assert not loaded & {"click", "rich", "construct", "imgtool.rules", "subprocess"}


def test_completion_is_registered_in_a_zsh_that_was_not_set_up_for_it(tmp_path: Path) -> None:
    zsh = shutil.which("zsh") or pytest.skip("no zsh here")
    script = imgtool("completion", "zsh").stdout
    assert script.startswith("#compdef imgtool\n")
    (tmp_path / "imgtool.zsh").write_text(script)
    done = subprocess.run(
        [zsh, "-fc", "source ./imgtool.zsh; print $_comps[imgtool]"],
        cwd=tmp_path, env=environment(HOME=str(tmp_path)),
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("_imgtool_completion\n", "")


def test_chinese_has_its_spaces_around_latin_words_and_none_before_its_marks(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(4096))
    run = imgtool("check", "--lang", "zh", "-o", tmp_path / "none/r.html", "--format", "html", image)
    assert "r.html：" in run.stderr
    assert "其 grain 至少" in beyond_the_end(Text("grain", "grain"), 9, 8, 99).statement.zh
