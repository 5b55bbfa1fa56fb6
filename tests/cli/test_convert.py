"""`imgtool convert` as people run it: what it prints, how it ends, and what is left however it ends."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import pty
import random
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from imgtool.convert.output import PREFIX
from imgtool.disk.probe import probe
from tests.cli.running import IMGTOOL, environment, imgtool, start
from tests.cli.test_ending import processes_with, wait_until
from tests.disk.formats.images import disk, qemu_img

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def unwinds(pid: int) -> bool:
    """Whether the process has come so far as to handle SIGTERM: until then Python itself is starting."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def test_it_says_what_it_made_on_stderr_and_nothing_on_stdout(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw")
    run = imgtool("convert", "--compress", raw, tmp_path / "out.qcow2")
    assert (run.returncode, run.stdout) == (0, "")
    assert f"{tmp_path}/out.qcow2: qcow2 (v3), disk of 4 MiB (4194816 bytes)" in run.stderr
    assert "; verified, " in run.stderr
    assert f"SHA-256: {digest(tmp_path / 'out.qcow2')}" in run.stderr


def ignoring_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@pytest.mark.parametrize("way", [("out.qcow2",), ("--compress", "--writer", "qemu-img", "out.qcow2")])
def test_a_parent_that_ignores_its_children_does_not_hide_that_qemu_img_failed(
    tmp_path: Path, way: tuple[str, ...]
) -> None:
    """Ignored SIGCHLD is inherited, and then every child seems to have ended well."""
    raw, source = tmp_path / "disk.raw", tmp_path / "damaged.qcow2"
    raw.write_bytes(b"".join(b"%d of many lines\xff\n" % number for number in range(400_000)))
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", raw, source)
    with source.open("r+b") as file:
        file.seek(10 * 65536 + 300)
        file.write(b"\xff" * 40_000)
    run = imgtool("convert", *way[:-1], source, tmp_path / way[-1], preexec_fn=ignoring_children)
    assert (run.returncode, files(tmp_path)) == (3, ["damaged.qcow2", "disk.raw"])
    assert "Input/output error" in run.stderr


def test_standard_input_is_read_where_it_is_a_file(tmp_path: Path) -> None:
    """Programs that we start have another /dev/stdin."""
    raw = disk(tmp_path / "disk.raw")
    for way in ("--compress", "--no-verify"):
        with raw.open("rb") as file:
            command = [*IMGTOOL, "convert", "--force", way, "/dev/stdin", str(tmp_path / "out.qcow2")]
            run = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, tmp_path / "out.qcow2")


@pytest.mark.parametrize("stderr", ["full", "nobody reads"])
def test_an_image_is_made_also_where_nobody_can_be_told(tmp_path: Path, stderr: str) -> None:
    if stderr == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)
    raw = disk(tmp_path / "disk.raw")
    run = subprocess.run([*IMGTOOL, "convert", raw, tmp_path / "out.qcow2"], stderr=descriptor, check=False)
    os.close(descriptor)
    assert run.returncode == 0
    qemu_img("compare", "-f", "raw", "-F", "qcow2", raw, tmp_path / "out.qcow2")


def test_an_image_does_not_go_into_a_pipe(tmp_path: Path) -> None:
    run = imgtool("convert", "--to", "raw", disk(tmp_path / "disk.raw"), "/dev/stdout", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert "/dev/stdout is no regular file" in run.stderr


@pytest.mark.parametrize("arguments", [("-", "out.raw"), ("disk.raw", "-")])
def test_a_hyphen_is_no_file_called_so(tmp_path: Path, arguments: tuple[str, str]) -> None:
    disk(tmp_path / "disk.raw")
    run = imgtool("convert", "--to", "raw", *arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert "at random" in run.stderr
    assert files(tmp_path) == ["disk.raw"]


def test_few_open_files_are_the_machines_lack(tmp_path: Path) -> None:
    run = imgtool(
        "convert", disk(tmp_path / "disk.raw"), tmp_path / "out.qcow2",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6)),
    )  # fmt: skip
    assert run.returncode == 4, run.stderr
    assert "open files" in run.stderr
    assert files(tmp_path) == ["disk.raw"]


def test_it_speaks_chinese(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw")
    run = imgtool("convert", "--lang", "zh", raw, tmp_path / "out.vmdk")
    assert "已校验" in run.stderr
    refused = imgtool("convert", "--lang", "zh", raw, tmp_path / "out.vmdk")
    assert "已存在；使用 --force 可覆盖" in refused.stderr
    assert refused.returncode == 2


def test_to_goes_before_the_suffix(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw")
    assert imgtool("convert", "--to", "vhd", "--subformat", "fixed", raw, tmp_path / "a.img").returncode == 0
    made = probe(tmp_path / "a.img")
    assert (made.format, made.variant) == ("vhd", "fixed")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("disk.raw", "out"), 2, "--to"),
        (("--to", "vhdx", "disk.raw", "out"), 2, "not a format"),
        (("--compress", "disk.raw", "out.raw"), 2, "no compression"),
        (("disk.raw", "disk.raw"), 2, "input itself"),
        (("disk.raw", "here.qcow2"), 2, "--force"),
        (("disk.raw", "missing/out.qcow2"), 2, "does not exist"),
        (("disk.raw", "/proc/out.qcow2"), 2, "Can't write"),
        (("--profile", "nowhere", "disk.raw", "out.qcow2"), 2, "No profile"),
        (("missing.raw", "out.qcow2"), 3, "does not exist"),
        (("empty.raw", "out.qcow2"), 3, "empty"),
        (("overlay.qcow2", "out.qcow2"), 3, "backing_file"),
        (("notes.gz", "out.qcow2"), 3, "no disk image"),
        (("big.raw", "out.qcow2"), 1, "InvalidFormatSize"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_refusal_is_one_line_with_its_code_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    disk(tmp_path / "disk.raw")
    (tmp_path / "here.qcow2").write_bytes(b"precious")
    (tmp_path / "empty.raw").touch()
    (tmp_path / "notes.gz").write_bytes(gzip.compress(b"just some notes\n" * 100))
    (tmp_path / "big.raw").touch()
    os.truncate(tmp_path / "big.raw", 501 * 1024**3)
    qemu_img(
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-b",
        "/etc/passwd",
        "-F",
        "raw",
        tmp_path / "overlay.qcow2",
        "1M",
    )
    before = files(tmp_path)
    run = imgtool("convert", *arguments, cwd=tmp_path)
    assert run.returncode == code, run.stderr
    assert said in run.stderr
    assert run.stderr.startswith("imgtool: ")
    assert run.stderr.count("\n") == 1
    assert files(tmp_path) == before
    assert (tmp_path / "here.qcow2").read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_read_only_is_wrong_usage(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw")
    closed = tmp_path / "closed"
    closed.mkdir(0o500)
    run = imgtool("convert", raw, closed / "out.raw")
    assert (run.returncode, "Permission denied" in run.stderr) == (2, True)


WAYS = {
    "qcow2": ("out.qcow2",),
    "compressed": ("--compress", "out.qcow2"),
    "compressed by qemu-img": ("--compress", "--writer", "qemu-img", "out.qcow2"),
    "raw": ("out.raw",),
    "vhd": ("out.vhd",),
    "vmdk": ("--compress", "out.vmdk"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_storage_that_fills_up_halfway_leaves_nothing(tmp_path: Path, way: tuple[str, ...]) -> None:
    """By a limit on the size of files, since a full file system takes root to make."""
    raw = tmp_path / "disk.raw"
    raw.write_bytes(random.Random(1).randbytes(16 * 1024**2))
    before = digest(raw)
    most = 5 * 1024**2
    run = imgtool(
        "convert", *way[:-1], raw, tmp_path / way[-1],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )  # fmt: skip
    assert run.returncode == 4, run.stderr
    assert "full" in run.stderr or "too large" in run.stderr
    assert run.stderr.endswith(". Make room, or give an output elsewhere.\n")
    assert run.stderr.count("\n") == 1
    assert files(tmp_path) == ["disk.raw"]
    assert digest(raw) == before


def test_an_archive_that_fills_the_storage_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "disk.gz"
    path.write_bytes(gzip.compress(random.Random(1).randbytes(16 * 1024**2), 1))
    most = 5 * 1024**2
    run = imgtool(
        "convert", path, tmp_path / "out.qcow2",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )  # fmt: skip
    assert run.returncode == 4, run.stderr
    assert files(tmp_path) == ["disk.gz"]


@pytest.fixture(scope="module")
def long_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk that takes seconds to compress with qemu-img, and a good part of one with our writer."""
    raw = tmp_path_factory.mktemp("long") / "disk.raw"
    rng = random.Random(2)
    with raw.open("wb") as file:
        for number in range(64):
            file.seek(number * 3 * 1024**2)
            file.write(rng.randbytes(512 * 1024) + b"some text, and more of it. " * 19_000)
    return raw


@pytest.fixture(scope="module")
def long_archive(long_work: Path) -> Path:
    """The same disk, packed."""
    path = long_work.with_name("disk.gz")
    path.write_bytes(gzip.compress(long_work.read_bytes(), 1))
    return path


@pytest.mark.parametrize("sign", SIGNALS)
@pytest.mark.parametrize("way", ["compressed", "compressed by qemu-img", "raw", "archive"])
def test_a_signal_at_any_moment_leaves_the_input_and_no_half_output(
    tmp_path: Path, long_work: Path, long_archive: Path, sign: signal.Signals, way: str
) -> None:
    source = long_archive if way == "archive" else long_work
    arguments = WAYS["compressed" if way == "archive" else way]
    before, name = digest(source), arguments[-1]
    rng = random.Random(f"{sign} {way}")
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        run = start("convert", *arguments[:-1], source, folder / name, env=environment())
        if number:
            wait_until(lambda here=folder: run.poll() is not None or files(here) != [])  # noqa: B023
        wait_until(lambda pid=run.pid: run.poll() is not None or unwinds(pid))  # noqa: B023
        time.sleep(rng.uniform(0, 0.6))
        os.kill(run.pid, sign)
        _, stderr = run.communicate(timeout=60)
        assert "Traceback" not in stderr
        assert digest(source) == before
        ended = run.returncode
        assert ended in (0, -sign, 128 + sign)
        if (folder / name).exists():
            qemu_img("compare", "-f", name.rpartition(".")[2], "-F", "raw", folder / name, long_work)
        wait_until(lambda here=folder: not processes_with(str(here)))
        if sign != signal.SIGKILL:
            assert files(folder) in ([], [name])
        else:
            assert set(files(folder)) <= {name} | {it for it in files(folder) if it.startswith(PREFIX)}
            again = imgtool("convert", "--force", *arguments[:-1], source, folder / name)
            assert again.returncode == 0, again.stderr
            assert files(folder) == [name]


def test_ctrl_c_in_the_terminal_says_in_one_line_that_nothing_is_left(
    tmp_path: Path, long_work: Path
) -> None:
    arguments = ("convert", "--compress", "--writer", "qemu-img", long_work, tmp_path / "out.qcow2")
    run = start(*arguments, env=environment())
    wait_until(lambda: any("convert -p" in line for line in processes_with(str(tmp_path / PREFIX))))
    os.killpg(run.pid, signal.SIGINT)
    said = "imgtool: cancelled; nothing unfinished is left, and the input is as it was.\n"
    assert run.communicate(timeout=60) == ("", said)
    assert run.returncode == 130
    assert files(tmp_path) == []


def bounded() -> None:
    """30 s of a processor."""
    resource.setrlimit(resource.RLIMIT_CPU, (30, 30))


def on_a_terminal(*arguments: str | Path, columns: int = 100) -> tuple[int, str]:
    """Exit code, and what a terminal that is its standard error gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(COLUMNS="100", TERM="xterm")
    run = start(*arguments, env=env, stderr=theirs, preexec_fn=bounded)
    os.close(theirs)
    said = b""
    try:
        while piece := os.read(ours, 4096):
            said += piece
    except OSError:  # how Linux tells the end of a terminal
        pass
    os.close(ours)
    run.communicate(timeout=60)
    return run.returncode, said.decode()


def test_a_terminal_shows_bars_with_rate_and_remaining_time_and_a_pipe_does_not(
    tmp_path: Path, long_work: Path
) -> None:
    code, said = on_a_terminal(
        "convert", "--compress", "--writer", "qemu-img", long_work, tmp_path / "out.qcow2"
    )
    assert code == 0
    assert "Converting: " in said
    assert "Verifying: " in said
    assert "B/s]" in said
    assert "<" in said  # elapsed<remaining
    assert "verified" in said.strip().replace("\r", "\n").splitlines()[-1]
    piped = imgtool("convert", long_work, tmp_path / "two.qcow2").stderr
    assert "Converting" not in piped
    assert "\r" not in piped


def test_bars_speak_chinese(tmp_path: Path) -> None:
    _, said = on_a_terminal("convert", "--lang", "zh", disk(tmp_path / "disk.raw"), tmp_path / "out.qcow2")
    assert "转换: " in said


@pytest.mark.parametrize("columns", [0, 1, 2, 7])
def test_a_terminal_that_says_it_has_no_columns_does_not_hang_it(tmp_path: Path, columns: int) -> None:
    """As those have that containers and build servers make."""
    raw, out = disk(tmp_path / "disk.raw"), tmp_path / "out.qcow2"
    code, said = on_a_terminal("convert", "--lang", "zh", raw, out, columns=columns)
    assert code == 0
    assert "已校验" in said


def test_the_help_names_every_option() -> None:
    said = imgtool("convert", "--help").stdout
    for option in (
        "--to",
        "--compress",
        "--compat",
        "--writer",
        "--verify",
        "--force",
        "--profile",
        "--shrink",
    ):
        assert option in said


def test_a_directory_full_of_files_to_convert_is_one_call_each(tmp_path: Path) -> None:
    """Two runs into one directory at a time do not take each other's temporary files for left-overs."""
    raw = disk(tmp_path / "disk.raw", size=64 * 1024**2)
    runs = [
        start("convert", "--compress", raw, tmp_path / f"{number}.qcow2", env=environment())
        for number in range(3)
    ]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    for run in runs:
        run.communicate()
    assert files(tmp_path) == ["0.qcow2", "1.qcow2", "2.qcow2", "disk.raw"]


def test_without_qemu_img_the_package_is_named(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw")
    script = (
        "import os, sys; real = os.access;"
        "os.access = lambda path, mode: 'qemu-img' not in str(path) and real(path, mode);"
        "from imgtool.cli.ending import run; run(sys.argv[1:])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, "convert", str(raw), str(tmp_path / "out.qcow2")],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert run.returncode == 4
    assert "apt-get install qemu-utils" in run.stderr
    assert files(tmp_path) == ["disk.raw"]


@pytest.mark.parametrize("option", ["--level", "--threads"])
def test_how_to_compress_without_compressing_is_wrong_usage(tmp_path: Path, option: str) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    run = imgtool("convert", option, "2", image, tmp_path / "out.qcow2")
    assert run.returncode == 2
    assert "--compress" in run.stderr
    assert files(tmp_path) == ["disk.raw"]
