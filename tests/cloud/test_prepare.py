"""`imgtool prepare` and `imgtool import`, as people run them, on small disks and with the sandbox for a
cloud.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from tests.cli.running import imgtool, start
from tests.cloud import tiny_linux
from tests.cloud.people import object_of
from tests.cloud.sdks import cos

KEY = "imgtool-web-01.qcow2"
Env = dict[str, str]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tiny_linux.make(tmp_path / "web.raw", filler=bytes(range(256)) * 4096)


def prepare(disk: Path, env: Env, *more: str, name: str = "web-01") -> subprocess.CompletedProcess[str]:
    return imgtool("prepare", disk, "--name", name, *more, env=env)


def images(sandbox: Sandbox) -> list[tuple[str, str]]:
    return [(image["ImageName"], image["ImageState"]) for image in sandbox.state.images()]


def test_an_image_becomes_normal_and_a_second_run_does_nothing(
    sandbox: Sandbox, disk: Path, env: Env
) -> None:
    before = disk.read_bytes()
    done = prepare(disk, env, "--format", "json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert images(sandbox) == [("web-01", "NORMAL")]
    assert report["image_id"] == sandbox.state.images()[0]["ImageId"]
    assert [step["name"] for step in report["steps"]][:3] == ["check", "fix", "convert"]
    assert disk.read_bytes() == before
    assert object_of(sandbox, KEY) is None
    assert sorted(path.name for path in (disk.parent / "web.raw.prepare").iterdir()) == ["journal"]
    again = prepare(disk, env)
    assert (again.returncode, again.stdout.strip()) == (0, report["image_id"])
    assert len(sandbox.state.images()) == 1
    markdown = prepare(disk, env, "--format", "markdown", "--lang", "zh")
    assert f"`{report['image_id']}`" in markdown.stdout
    assert "此前已完成" in markdown.stdout


def test_the_way_may_be_gone_in_pieces(sandbox: Sandbox, disk: Path, env: Env) -> None:
    for step in ("check", "convert", "upload", "dry-run"):
        done = prepare(disk, env, "--until", step, "--keep-object")
        assert (done.returncode, done.stdout.strip()) == (0, step), done.stderr
        assert images(sandbox) == []
    uploaded = object_of(sandbox, KEY)
    assert uploaded == (disk.parent / "web.raw.prepare" / "image.qcow2").read_bytes()
    assert prepare(disk, env, "--keep-object").returncode == 0
    assert object_of(sandbox, KEY) == uploaded
    assert len(sandbox.received) == 1


def test_an_object_that_went_away_is_uploaded_again(sandbox: Sandbox, disk: Path, env: Env) -> None:
    prepare(disk, env, "--until", "dry-run")
    cos(sandbox).delete_object(sandbox.bucket, KEY)
    assert prepare(disk, env).returncode == 0
    assert images(sandbox) == [("web-01", "NORMAL")]


def test_another_content_of_the_image_is_prepared_anew(sandbox: Sandbox, disk: Path, env: Env) -> None:
    prepare(disk, env, "--until", "upload")
    first = object_of(sandbox, KEY)
    disk.unlink()
    tiny_linux.make(disk, filler=b"other")
    assert prepare(disk, env, "--keep-object").returncode == 0
    assert object_of(sandbox, KEY) not in (first, None)


def test_a_plan_does_nothing(sandbox: Sandbox, disk: Path, env: Env) -> None:
    done = imgtool("prepare", disk, "--plan", "--bandwidth", "8Mbps", env=env)
    assert done.returncode == 0, done.stderr
    assert "Upload" in done.stdout
    assert "Nothing was done" in done.stdout
    assert not (disk.parent / "web.raw.prepare").exists()
    assert sandbox.state.list_objects(sandbox.bucket) == []


def test_a_plan_says_what_the_check_finds_and_ends_where_the_run_would(tmp_path: Path, env: Env) -> None:
    noise = tmp_path / "rnd.img"
    noise.write_bytes(random.Random(5).randbytes(1 << 20))
    found = imgtool("check", noise, env=env)
    done = imgtool("prepare", noise, "--plan", env=env)
    assert (done.returncode, found.returncode) == (1, 1), done.stderr
    assert "disk.partition-table" in done.stdout
    assert "stop at `fix`" in done.stdout
    assert "upload" not in done.stdout
    assert prepare(noise, env).returncode == 1


def test_a_plan_has_the_repair_and_the_steps_that_until_takes(tmp_path: Path, env: Env) -> None:
    bad = tiny_linux.make(tmp_path / "bad.raw", more={"/etc/cloud/cloud-init.disabled": ""})
    done = imgtool("prepare", bad, "--plan", env=env)
    assert done.returncode == 0, done.stderr
    assert "Mended on the copy: 1 of 1" in done.stdout
    assert "convert  Apply the repair" in done.stdout
    steps = [line.split()[1] for line in done.stdout.splitlines() if line[:2].strip().isdigit()]
    choices = imgtool("prepare", "--help", env=env).stdout.replace("\n", " ").replace(" ", "")
    assert all(f"|{step}" in choices for step in steps)
    shorter = imgtool("prepare", bad, "--plan", "--until", "convert", env=env).stdout
    assert " 3. convert" in shorter.splitlines()[-2]
    other = prepare(bad, env, "--until", "rehearse")
    assert (other.returncode, "no step rehearse" in other.stderr) == (2, True)


def test_an_image_that_fails_is_not_uploaded(sandbox: Sandbox, tmp_path: Path, env: Env) -> None:
    bad = tiny_linux.make(tmp_path / "bad.raw", without=("/boot/vmlinuz",))
    for more in ((), ("--no-fix",)):
        done = prepare(bad, env, *more)
        assert done.returncode == 1, done.stderr
        assert "linux.kernel" in done.stderr
    assert sandbox.state.list_objects(sandbox.bucket) == []


def test_repairs_are_asked_for(sandbox: Sandbox, tmp_path: Path, env: Env) -> None:
    bad = tiny_linux.make(tmp_path / "bad.raw", more={"/etc/cloud/cloud-init.disabled": ""})
    done = prepare(bad, env)
    assert done.returncode == 1, done.stderr
    assert "remove  /etc/cloud/cloud-init.disabled" in done.stderr
    assert "not agreed to" in done.stderr
    assert f"kept in {bad}.prepare; if you don't go on, remove that folder" in done.stderr
    assert sandbox.state.list_objects(sandbox.bucket) == []


def test_a_name_that_is_taken_is_known_before_the_upload(sandbox: Sandbox, disk: Path, env: Env) -> None:
    prepare(disk, env)
    done = prepare(disk, env, "--work", str(disk.parent / "other"))
    assert done.returncode == 5
    assert "is taken by img-" in done.stderr
    assert "Upload" not in done.stderr.replace("Uploaded", "")


def test_a_system_that_is_not_taken_is_known_before_the_upload(
    sandbox: Sandbox, disk: Path, env: Env
) -> None:
    done = prepare(disk, env, "--os-type", "Windows", "--os-version", "2022")
    assert done.returncode == 5, done.stderr
    assert "This deployment does not take Windows 2022. It takes: Windows Server 2008," in done.stderr
    assert sandbox.state.list_objects(sandbox.bucket) == []


def test_a_full_quota_is_known_before_the_upload(tmp_path: Path, disk: Path) -> None:
    from tests.cloud.people import environment_for

    with Sandbox(tmp_path / "small", quota=1).running() as small:
        env = environment_for(small, tmp_path)
        assert prepare(disk, env).returncode == 0
        done = prepare(disk, env, "--lang", "zh", name="web-02")
        assert done.returncode == 5
        assert "ImageQuotaLimitExceeded" in done.stderr
        assert "配额为 1" in done.stderr


@pytest.mark.parametrize("fault", ["rate*3", "503*3"])
def test_it_survives_a_cloud_that_stumbles(sandbox: Sandbox, disk: Path, env: Env, fault: str) -> None:
    assert prepare(disk, env, "--until", "upload").returncode == 0
    sandbox.faults.add(fault)
    assert prepare(disk, env).returncode == 0
    assert images(sandbox) == [("web-01", "NORMAL")]


def test_an_import_whose_answer_was_lost_is_not_asked_for_twice(
    sandbox: Sandbox, disk: Path, env: Env
) -> None:
    assert prepare(disk, env, "--until", "dry-run").returncode == 0
    for _ in range(3):
        sandbox.faults.add("api-drop")
    assert prepare(disk, env).returncode == 0
    assert images(sandbox) == [("web-01", "NORMAL")]


def test_two_runs_at_once_are_told_apart(sandbox: Sandbox, disk: Path, env: Env) -> None:
    sandbox.faults.add("slow=40k")
    first = start("prepare", disk, "--name", "web-01", env=env)
    try:
        assert first.stderr is not None
        said = ""
        while "Upload" not in said:
            line = first.stderr.readline()
            assert line, said  # it ended before
            said += line
        second = prepare(disk, env)
        assert second.returncode == 5
        assert "Another imgtool is at work on this image" in second.stderr
        sandbox.faults.clear()
    finally:
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert images(sandbox) == [("web-01", "NORMAL")]


@pytest.mark.parametrize("content", [b"garbage", b'{"imgtool_journal": 1, "kind": "upload"}\n'])
def test_a_journal_that_is_none_is_not_believed(disk: Path, env: Env, content: bytes) -> None:
    folder = disk.parent / "web.raw.prepare"
    folder.mkdir()
    (folder / "journal").write_bytes(content)
    done = prepare(disk, env)
    assert (done.returncode, "not a journal" in done.stderr) == (5, True)
    assert prepare(disk, env, "--restart").returncode == 0


def test_a_data_disk_becomes_a_snapshot(sandbox: Sandbox, image: Any, tmp_path: Path, env: Env) -> None:
    done = imgtool(
        *("prepare", image("layout/data-disk"), "--target", "data-disk", "--name", "data-01"),
        *("--work", tmp_path / "w"),
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == sandbox.state.snapshots()[0]["TaskId"]
    assert sandbox.state.snapshots()[0]["SnapshotSize"] == 1
    # a kill between the answer and the note that the step is finished
    journal = tmp_path / "w" / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    begun = next(number for number, line in enumerate(lines) if b'"import.begun"' in line)
    journal.write_bytes(b"".join(lines[: begun + 1]))
    again = imgtool(
        *("prepare", image("layout/data-disk"), "--target", "data-disk", "--name", "data-01"),
        *("--work", tmp_path / "w"),
        env=env,
    )
    assert (again.stdout, len(sandbox.state.snapshots())) == (done.stdout, 1), again.stderr


def test_offline_migration_ends_with_a_public_object_and_the_console_s_steps(
    sandbox: Sandbox, disk: Path, env: Env
) -> None:
    done = prepare(disk, env, "--target", "migrate")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"http://{sandbox.bucket}.{sandbox.endpoint}/{KEY}"
    item = sandbox.state.find_object(sandbox.bucket, KEY)
    assert item is not None
    assert item.public
    assert "New instance migration" in done.stderr


def test_an_archive_is_unpacked_first(sandbox: Sandbox, disk: Path, env: Env) -> None:
    packed = disk.with_name("export.tar.gz")
    subprocess.run(["tar", "-czf", packed, "-C", disk.parent, disk.name], check=True)
    done = prepare(packed, env, "--until", "convert", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [step["name"] for step in json.loads(done.stdout)["steps"]][:2] == ["unpack", "check"]
    done = prepare(packed, env)
    assert done.returncode == 0, done.stderr
    assert images(sandbox) == [("web-01", "NORMAL")]
    assert sorted(path.name for path in packed.with_name("export.tar.gz.prepare").iterdir()) == ["journal"]
    assert prepare(packed, env).returncode == 0
    plan = imgtool("prepare", packed, "--plan", "--bandwidth", "8Mbps", env=env)
    assert plan.returncode == 0, plan.stderr
    for step in ("unpack", "wait"):  # what comes out of the archive, not what it takes
        assert next(line for line in plan.stdout.splitlines() if f" {step} " in line).split()[-4:-2] == [
            "48",
            "MiB",
        ]
    assert "in all (976.6 KiB/s). Nothing was done." in plan.stdout


def test_a_plan_says_why_a_size_is_not_known(disk: Path, env: Env) -> None:
    packed = disk.with_name("web.raw.bz2")
    with packed.open("wb") as out:
        subprocess.run(["bzip2", "-c", str(disk)], stdout=out, check=True)
    plan = imgtool("prepare", packed, "--plan", "--bandwidth", "8Mbps", env=env)
    assert plan.returncode == 0, plan.stderr
    assert "bzip2 keeps no size" in plan.stdout
    assert "--bandwidth" not in plan.stdout
    assert [line.split()[1] for line in plan.stdout.splitlines() if line.endswith("unknown")] == [
        "unpack",
        "wait",
    ]


def test_an_image_that_can_not_be_read_is_said(sandbox: Sandbox, tmp_path: Path, env: Env) -> None:
    (tmp_path / "noise").write_bytes(b"QFI\xfb" + bytes(100))
    for name in ("noise", "missing"):
        done = prepare(tmp_path / name, env)
        assert done.returncode in (1, 3), done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
    assert sandbox.state.list_objects(sandbox.bucket) == []


# -- imgtool import


def imported(sandbox: Sandbox, env: Env, *more: str) -> subprocess.CompletedProcess[str]:
    system = ("--os-type", "debian", "--os-version", "12.5")
    return imgtool("import", f"cos://{sandbox.bucket}/object", "--name", "one", *system, *more, env=env)


@pytest.mark.parametrize(
    ("without", "code"),
    [
        (("/boot/vmlinuz", "/boot/config"), "NORMAL"),  # nothing that the platform looks at
        (("/usr/bin/cloud-init", "/usr/lib/python3"), "CloudInitNotInstalled"),
        (("/etc", "/sbin", "/lib", "/usr"), "RootPartitionNotFound"),
    ],
)
def test_the_platform_s_reasons_are_explained(
    sandbox: Sandbox, tmp_path: Path, env: Env, without: tuple[str, ...], code: str
) -> None:
    disk = tiny_linux.make(tmp_path / "bad.raw", without=without)
    cos(sandbox).put_object(sandbox.bucket, disk.read_bytes(), "object")
    done = imported(sandbox, env)
    if code == "NORMAL":
        assert (done.returncode, images(sandbox)) == (0, [("one", "NORMAL")]), done.stderr
        return
    assert done.returncode == 5
    assert f"failed: {code}." in done.stderr
    assert images(sandbox) == [("one", "IMPORTFAILED")]
    assert any(code in message for message in sandbox.state.messages())


def test_noise_is_refused_for_its_format(sandbox: Sandbox, env: Env) -> None:
    cos(sandbox).put_object(sandbox.bucket, b"QFI\xfb" + bytes(5000), "object")
    done = imported(sandbox, env)
    assert (done.returncode, "InvalidFormatSize" in done.stderr) == (5, True)


def test_force_imports_what_has_no_cloud_init(sandbox: Sandbox, tmp_path: Path, env: Env) -> None:
    disk = tiny_linux.make(tmp_path / "bad.raw", without=("/usr/bin/cloud-init", "/usr/lib/python3"))
    cos(sandbox).put_object(sandbox.bucket, disk.read_bytes(), "object")
    assert imported(sandbox, env, "--force-import").returncode == 0


def test_a_dry_run_imports_nothing(sandbox: Sandbox, disk: Path, env: Env) -> None:
    cos(sandbox).put_object(sandbox.bucket, disk.read_bytes(), "object")
    done = imported(sandbox, env, "--dry-run")
    assert (done.returncode, done.stdout.strip(), images(sandbox)) == (0, "DryRunOperation", [])


def test_a_used_link_and_another_region_are_invalid_urls(sandbox: Sandbox, disk: Path, env: Env) -> None:
    client = cos(sandbox)
    client.put_object(sandbox.bucket, disk.read_bytes(), "object", ACL="public-read")
    for number, url in enumerate(
        (
            f"http://{sandbox.bucket}.cos.elsewhere.sandbox.localhost/object",
            f"http://{sandbox.bucket}.{sandbox.endpoint}/missing",
            "http://example.com/object",
        )
    ):
        done = imgtool(
            "import", url, "--name", f"n{number}", "--os-type", "Debian", "--os-version", "12", env=env
        )
        assert (done.returncode, "InvalidUrl" in done.stderr) == (5, True), url


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--os-version", "99"), "does not take Debian 99"),
        (("--name", "n" * 61), "1 to 60"),
        (("--os-type", ""), "--os-type"),
    ],
)
def test_parameters_are_looked_at_first(
    sandbox: Sandbox, disk: Path, env: Env, more: tuple[str, ...], said: str
) -> None:
    cos(sandbox).put_object(sandbox.bucket, b"x", "object")
    done = imported(sandbox, env, *more)
    assert done.returncode in (2, 5)
    assert said in done.stderr
    assert images(sandbox) == []


def test_an_object_that_is_not_there_is_said(sandbox: Sandbox, env: Env) -> None:
    done = imported(sandbox, env)
    assert (done.returncode, "There is no object" in done.stderr) == (5, True)


# -- parameters of an import


def wanted(**changes: Any) -> Any:
    from imgtool.cloud.importing import Wanted

    given = {"name": "one", "os_type": "Debian", "os_version": "12", "architecture": "x86_64", **changes}
    return Wanted(**given)


def settled(sandbox: Sandbox, **changes: Any) -> Any:
    from imgtool.cloud.credentials import Credentials
    from imgtool.cloud.cvm import Cvm
    from imgtool.cloud.importing import settle
    from imgtool.cloud.settings import settings

    keys = Credentials(sandbox.keys.secret_id, sandbox.keys.secret_key)
    cvm = Cvm(settings({}, sandbox.environment()), keys)
    return settle(cvm, wanted(**changes), f"http://{sandbox.bucket}.{sandbox.endpoint}/object")


def test_every_documented_parameter_is_sent_where_it_is_asked_for(sandbox: Sandbox) -> None:
    plain = settled(sandbox).parameters
    assert {"Force", "PublicImage", "BootMode", "ImageDescription"}.isdisjoint(plain)
    found = settled(
        sandbox, force=True, public_image=True, boot_mode="uefi", description="web", architecture="arm_64"
    )
    expected = {"Force": True, "PublicImage": True, "BootMode": "UEFI", "ImageDescription": "web"}
    assert {name: found.parameters[name] for name in expected} == expected
    assert found.parameters["Architecture"] == "arm_64"
    assert found.notes == ()


def test_a_deployment_without_boot_mode_is_asked_again_without(sandbox: Sandbox) -> None:
    sandbox.faults.add("no-boot-mode")
    found = settled(sandbox, boot_mode="uefi")
    assert "BootMode" not in found.parameters
    assert "choose that when you make an instance" in found.notes[0].en
    assert "BootMode" not in settled(sandbox, boot_mode="bios").parameters


def test_an_image_by_uefi_is_imported_by_a_deployment_without_boot_mode(
    sandbox: Sandbox, disk: Path, env: Env
) -> None:
    sandbox.faults.add("no-boot-mode")
    cos(sandbox).put_object(sandbox.bucket, disk.read_bytes(), "object")
    done = imported(sandbox, env, "--boot-mode", "uefi", "--public-image", "--no-wait")
    assert done.returncode == 0, done.stderr
    assert "takes no BootMode" in done.stderr


def test_the_folder_of_another_image_s_run_is_left_alone(sandbox: Sandbox, disk: Path, env: Env) -> None:
    work = ("--work", str(disk.parent / "work"))
    assert prepare(disk, env, *work, "--until", "convert").returncode == 0
    product = (disk.parent / "work" / "image.qcow2").read_bytes()
    other = disk.with_name("other.raw")
    other.write_bytes(disk.read_bytes())
    done = prepare(other, env, *work, name="other")
    assert (done.returncode, "the run of another image, web.raw" in done.stderr) == (5, True), done.stderr
    assert (disk.parent / "work" / "image.qcow2").read_bytes() == product
