"""`imgtool check` as a process: exit codes, selection, languages, several images."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import empty, environment, imgtool, plug_in, qcow2


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A whole image whose only fault is that its disk has no partitions."""
    return qcow2(tmp_path / "empty.qcow2")


def test_nothing_wrong_is_exit_code_0(image: Path) -> None:
    done = imgtool("check", "--select", "image", image)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"PASS {image}: no errors")


def test_an_error_is_exit_code_1(image: Path) -> None:
    done = imgtool("check", image)
    assert done.returncode == 1
    assert "ERROR  disk.partition-table  [PartitionNotPresent]" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--no-such-option"], "--no-such-option"),
        (["--select", "linux.fstb"], "No rule is called 'linux.fstb'; did you mean 'linux.fstab'? "),
        (["--ignore", "linux.virtoi"], "did you mean 'linux.virtio'? "),
        (["--ignore", "nothing"], "'nothing'"),
        (["--profile", "tec"], "did you mean 'tce'"),
        (["--profile", "/nowhere/site.toml"], "/nowhere/site.toml"),
        (["--engine", "guestfish"], "guestfish"),
        (["-j", "0"], "-j"),
        (["--format", "yaml"], "yaml"),
        (["--profile", "n" * 300], "No profile is called"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_named(image: Path, arguments: list[str], says: str) -> None:
    done = imgtool("check", *arguments, image)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_no_image_is_wrong_usage() -> None:
    assert imgtool("check").returncode == 2


def test_an_empty_name_is_wrong_usage_and_not_the_current_folder(tmp_path: Path) -> None:
    done = imgtool("check", "", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "name of the image is empty" in done.stderr


def test_an_image_that_is_not_there_is_exit_code_3_and_one_finding(tmp_path: Path) -> None:
    done = imgtool("check", "--format", "json", tmp_path / "none.qcow2")
    assert done.returncode == 3
    (report,) = json.loads(done.stdout)["images"]
    assert report["verdict"] == "unknown"
    unknown = [it["id"] for it in report["findings"] if it["status"] == "unknown"]
    assert unknown[0] == "image.format"
    assert "pass" not in {it["status"] for it in report["findings"]}


def test_without_qemu_nbd_a_vmdk_is_exit_code_4_with_the_package(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    image = empty("vmdk", tmp_path / "disk.vmdk")
    done = imgtool("check", image, env=environment(PATH=str(bare)))
    assert done.returncode == 4
    assert "apt-get install" in done.stdout


def test_of_several_images_one_that_fails_decides(image: Path, tmp_path: Path) -> None:
    missing = tmp_path / "none.raw"
    assert imgtool("check", missing, image).returncode == 1
    assert imgtool("check", "--select", "image", missing, image).returncode == 3
    assert imgtool("check", "--select", "image", image, image).returncode == 0


def test_several_images_end_with_a_line_for_all(image: Path, tmp_path: Path) -> None:
    done = imgtool("check", image, tmp_path / "none.raw")
    assert done.stdout.splitlines()[-1] == "2 images: 1 failed, 1 could not be judged, 0 passed"


def test_images_in_parallel_keep_their_order(tmp_path: Path) -> None:
    images = [qcow2(tmp_path / f"{name}.qcow2") for name in "dbeac"]

    def findings(*jobs: str) -> list[object]:
        done = imgtool("check", *jobs, "--format", "json", *images)
        assert done.returncode == 1
        return [(it["path"], it["findings"]) for it in json.loads(done.stdout)["images"]]

    alone = findings()
    assert [path for path, _ in alone] == [str(it) for it in images]  # type: ignore[misc]
    assert findings("-j", "3") == alone


def test_an_image_of_any_name_is_an_argument_after_two_dashes(tmp_path: Path) -> None:
    qcow2(tmp_path / "-v")
    done = imgtool("check", "--select", "image", "--", "-v", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_utf8_is_shown_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m.qcow2")
    done = imgtool("check", "--format", "json", name)
    assert json.loads(done.stdout)["images"][0]["path"].endswith("/\\xff\x1b[31m.qcow2")
    assert "\x1b" not in imgtool("check", name).stdout


def test_selection_reports_only_what_was_asked_for(image: Path) -> None:
    done = imgtool("check", "--format", "json", "--select", "image.size,image.format", image)
    found = {it["id"] for it in json.loads(done.stdout)["images"][0]["findings"]}
    assert found == {"image.format", "image.size.virtual", "image.size.actual"}


def test_a_required_rule_that_failed_is_reported_with_the_selected_one(image: Path) -> None:
    done = imgtool("check", "--select", "disk.root", image)
    assert done.returncode == 1
    assert "disk.partition-table" in done.stdout


def test_an_ignored_rule_is_not_reported(image: Path) -> None:
    assert "disk.partition-table  " not in imgtool("check", "--ignore", "disk.partition-table", image).stdout


def test_a_profiles_limit_decides(image: Path, tmp_path: Path) -> None:
    site = tmp_path / "small.toml"
    site.write_text('extends = "tce"\n[image]\nmax_virtual_size = "32 MiB"\n')
    done = imgtool("check", "--format", "json", "--select", "image", "--profile", site, image)
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)["images"]
    assert report["profile"] == "small"
    failed = [it["id"] for it in report["findings"] if it["status"] == "fail"]
    assert failed == ["image.size.virtual"]


def test_a_mistake_in_a_profile_names_file_and_line(image: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('extends = "tce"\n\n[severity]\n"image.formt" = "info"\n')
    done = imgtool("check", "--profile", site, image)
    assert done.returncode == 2
    assert f"{site}:4: no rule is called 'image.formt'; did you mean 'image.format'?" in done.stderr


def test_fail_on_warning_fails_for_a_warning(image: Path) -> None:
    subprocess.run(["qemu-img", "snapshot", "-c", "before", str(image)], check=True)
    only = ("--select", "image.snapshots", image)
    assert imgtool("check", *only).returncode == 0
    done = imgtool("check", "--fail-on", "warning", *only)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("FAIL ")


@pytest.mark.parametrize(
    ("variables", "arguments", "says"),
    [
        ({"LC_ALL": "zh_CN.UTF-8"}, [], "不通过"),
        ({"LC_ALL": None, "LC_MESSAGES": None, "LANG": "zh_TW.UTF-8"}, [], "不通过"),
        ({"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}, [], "FAIL"),
        ({"LC_ALL": "zh_CN.UTF-8"}, ["--lang", "en"], "FAIL"),
        ({"LC_ALL": "C"}, ["--lang", "zh"], "不通过"),
    ],
)
def test_the_language_is_the_locales_unless_given(
    image: Path, variables: dict[str, str | None], arguments: list[str], says: str
) -> None:
    done = imgtool("check", *arguments, image, env=environment(**variables), encoding="utf-8")
    assert done.stdout.splitlines()[-1].startswith(says)


def test_a_usage_error_speaks_the_language_of_the_report(image: Path) -> None:
    done = imgtool("check", "--select", "nothing", "--lang", "zh", image)
    assert "没有名为" in done.stderr


def test_verbose_lists_what_passed(image: Path) -> None:
    assert "PASS  image.format" in imgtool("check", "-v", image).stdout


RULES = """
    @rule("acme.good", Text.same("good"), severity=Severity.ERROR, source="field")
    def good(image):
        "A rule of somebody else."
        yield kept(Text("All well.", "一切正常。"))

    @rule("acme.fault", Text.same("fault"), severity=Severity.ERROR, source="field")
    def fault(image):
        "A rule with a fault of its own."
        raise KeyError("oops")
        yield

    @rule("acme.crash", Text.same("crash"), severity=Severity.ERROR, source="field")
    def crash(image):
        "A rule on whose image a C library crashes."
        if "crash" in image.path.name:
            os.kill(os.getpid(), signal.SIGSEGV)
        yield kept(Text("Alive.", "正常。"))
"""


def test_a_plug_ins_rule_is_judged_with_the_others(image: Path, tmp_path: Path) -> None:
    done = imgtool("check", "-v", "--select", "acme.good", image, env=plug_in(tmp_path / "site", RULES))
    assert done.returncode == 0, done.stderr
    assert "All well." in done.stdout


def test_a_fault_in_a_rule_is_unknown_and_shows_its_traceback_only_with_debug(
    image: Path, tmp_path: Path
) -> None:
    env = plug_in(tmp_path / "site", RULES)
    done = imgtool("check", "--select", "acme.fault", image, env=env)
    assert done.returncode == 3
    assert "KeyError: 'oops'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "Traceback" in imgtool("check", "--debug", "--select", "acme.fault", image, env=env).stderr


def test_a_crash_takes_only_its_own_image_with_it(image: Path, tmp_path: Path) -> None:
    bad = qcow2(tmp_path / "crash.qcow2")
    env = plug_in(tmp_path / "site", RULES)
    only = ("--format", "json", "--select", "acme.crash")
    done = imgtool("check", *only, "-j", "2", bad, image, env=env)
    assert done.returncode == 3
    first, second = json.loads(done.stdout)["images"]
    assert [it["id"] for it in first["findings"]] == ["imgtool.crash"]
    assert first["findings"][0]["evidence"] == ["SIGSEGV"]
    assert second["verdict"] == "pass"
    assert done.stderr == ""


def test_a_file_that_cannot_be_read_never_passes_whatever_rules_are_left_out(tmp_path: Path) -> None:
    for given in (["--ignore", "image,disk"], ["--select", "linux.distribution", "--ignore", "disk"]):
        assert imgtool("check", *given, tmp_path / "gone.qcow2").returncode == 3


def test_rules_that_judge_nothing_for_the_target_are_wrong_usage(tmp_path: Path) -> None:
    done = imgtool("check", "--target", "data-disk", "--select", "linux.fstab", qcow2(tmp_path / "a.qcow2"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--target data-disk" in done.stderr
