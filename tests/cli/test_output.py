"""Where the report goes: a pipe, a terminal, a file that is whole or not there."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import IMGTOOL, environment, imgtool, qcow2


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return qcow2(tmp_path / "empty.qcow2")


def test_a_pipe_gets_no_colour(image: Path) -> None:
    assert "\x1b" not in imgtool("check", image, env=environment(TERM="xterm-256color")).stdout


def on_a_terminal(*arguments: str | Path, **variables: str | None) -> str:
    """What a terminal of 80 columns gets."""
    outer, inner = pty.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        child = subprocess.Popen(
            [*IMGTOOL, *map(str, arguments)],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment(**{"TERM": "xterm-256color", **variables}),
        )
        os.close(inner)
        inner = -1
        content = b""
        while True:
            try:
                piece = os.read(outer, 1 << 16)
            except OSError:  # the last writer is gone
                break
            if not piece:
                break
            content += piece
        child.wait(60)
        return content.decode()
    finally:
        os.close(outer)
        if inner >= 0:
            os.close(inner)


def test_a_terminal_gets_colour_unless_told_otherwise(image: Path) -> None:
    assert "\x1b[" in on_a_terminal("check", image)
    assert "\x1b" not in on_a_terminal("check", image, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal("check", "--no-color", image)
    assert "\x1b" not in on_a_terminal("doctor", "--no-color")


def test_a_terminal_that_has_no_colours_gets_none(image: Path) -> None:
    assert "\x1b" not in on_a_terminal("check", image, TERM="dumb")


@pytest.mark.parametrize("form", ["text", "json", "junit", "sarif", "markdown", "html"])
def test_every_form_is_written_whole_under_its_name(image: Path, tmp_path: Path, form: str) -> None:
    file = tmp_path / "report"
    done = imgtool("check", "--format", form, "-o", file, image)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"FAIL {image}: ")
    assert file.read_text().strip()
    assert [it.name for it in tmp_path.iterdir() if it.name.endswith(".part")] == []
    umask = os.umask(0)
    os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_file_is_overwritten_only_by_force_and_keeps_its_mode(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("precious")
    file.chmod(0o640)
    done = imgtool("check", "-f", "json", "-o", file, image)
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert file.read_text() == "precious"
    assert imgtool("check", "-f", "json", "-o", file, "--force", image).returncode == 1
    assert json.loads(file.read_text())["schema_version"] == 1
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_image_is_never_the_output(image: Path, tmp_path: Path) -> None:
    before = image.read_bytes()
    link = tmp_path / "link"
    link.symlink_to(image)
    for name in (image, link):
        done = imgtool("check", "-o", name, "--force", image)
        assert done.returncode == 2
        assert "the image itself" in done.stderr
    assert image.read_bytes() == before


def test_a_link_is_written_through(image: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    imgtool("check", "-o", tmp_path / "link", "--force", image)
    assert (tmp_path / "link").is_symlink()
    assert "FAIL" in (tmp_path / "real").read_text()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("no/such/folder/report.json", id="no-folder"),
        pytest.param(".", id="folder"),
        pytest.param("n" * 300, id="name-too-long"),
        pytest.param("empty.qcow2/report.json", id="file-for-a-folder"),
    ],
)
def test_an_output_that_cannot_be_written_is_wrong_usage_before_any_work(
    image: Path, tmp_path: Path, name: str
) -> None:
    done = imgtool("check", "-o", tmp_path / name, image)
    assert done.returncode == 2
    assert "Can't write to" in done.stderr
    assert "FAIL" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_wrong_usage(image: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(0o555)
    assert imgtool("check", "-o", closed / "report", image).returncode == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_a_folder_that_may_not_be_looked_into_is_wrong_usage(image: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o600)
    done = imgtool("check", "-o", tmp_path / "closed" / "report", image)
    assert done.returncode == 2
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["-o", "/dev/full"]])
def test_a_full_disk_is_exit_code_4(image: Path, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*IMGTOOL, "check", *arguments, str(image)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 4
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dash_is_standard_output(image: Path) -> None:
    assert json.loads(imgtool("check", "-f", "json", "-o", "-", image).stdout)["images"]


def through_the_shell(line: str, image: Path) -> subprocess.CompletedProcess[str]:
    words = " ".join(IMGTOOL)
    return subprocess.run(  # noqa: S602
        line.format(imgtool=words, image=image),
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["check", "inspect", "doctor"])
def test_a_closed_standard_output_is_said(image: Path, command: str) -> None:
    name = "" if command == "doctor" else image
    done = through_the_shell(f"{{imgtool}} {command} {name} >&-", image)
    assert done.returncode == 2
    assert "Standard output is closed" in done.stderr


def test_a_closed_standard_output_does_not_matter_with_a_file(image: Path, tmp_path: Path) -> None:
    done = through_the_shell(f"{{imgtool}} check -o {tmp_path}/report {{image}} >&- <&-", image)
    assert done.returncode == 1
    assert "FAIL" in (tmp_path / "report").read_text()


def test_everything_closed_is_still_judged(image: Path) -> None:
    done = through_the_shell("{imgtool} check --select image -o /dev/null {image} >&- <&- 2>&-", image)
    assert done.returncode == 0


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_goes_away_ends_it_quietly(image: Path, form: str) -> None:
    line = "{imgtool} check -f " + form + " {image} {image} | true; exit ${{PIPESTATUS[0]}}"
    done = through_the_shell(line, image)
    assert done.returncode == 141
    assert done.stderr == ""
