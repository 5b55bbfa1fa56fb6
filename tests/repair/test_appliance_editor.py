"""The real editor in the real appliance: one session over a small Debian for all that it promises."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import cache
from fixtures.windows.hive import dword, make_hive, sz
from imgtool.appliance import Drive, appliance
from imgtool.disk.probe import probe
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.appliance_editor import ApplianceEditor
from imgtool.repair.apply import apply_steps
from imgtool.repair.editor import EditFailed, RegistryValue
from imgtool.repair.overlay import lay_over
from imgtool.repair.plan import Plan, make_plan
from imgtool.repair.steps import Append, Edit, Outdated, Step
from imgtool.rules import discover
from tests.guest.made_disks import Part, disk_file, system

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fix")]

FSTAB = "/dev/sda1 / ext4 defaults 0 1\n/dev/vdb1 /data ext4 defaults 0 0\n"
OUT_OF_THE_GUEST = "-> ../../../../../../../../host"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with cache.scratch() as made:
        yield made


@pytest.fixture(scope="module")
def disk(folder: Path) -> Path:
    """A Debian whose /etc is a link that leads out of it, where links are followed as on this machine."""
    files = {name.replace("etc/", "host/", 1): text for name, text in system(FSTAB).items()}
    return disk_file(folder, Part({**files, "etc": OUT_OF_THE_GUEST, "host/to-proc": "-> /proc/version"}))


@pytest.fixture(scope="module")
def plan(disk: Path) -> Plan:
    with Image(disk, load_profile("tce")) as image:
        return make_plan(image, discover(), chosen=["linux.fstab.data-disk", "linux.fstab.device-names"])


@pytest.fixture(scope="module")
def session(disk: Path, plan: Plan, folder: Path) -> Iterator[tuple[ApplianceEditor, Any]]:
    lay_over(probe(disk), folder / "over.qcow2")
    with appliance([Drive(folder / "over.qcow2", "qcow2", writable=True)]) as handle:
        editor = ApplianceEditor(handle)
        editor.mount(plan.mounts)
        yield editor, handle
        editor.unmount()


@pytest.fixture
def editor(session: tuple[ApplianceEditor, Any]) -> ApplianceEditor:
    return session[0]


def test_a_link_out_of_the_guest_leads_nowhere_else(editor: ApplianceEditor, plan: Plan) -> None:
    assert {step.path for step in plan.steps} == {"/host/fstab"}  # type: ignore[attr-defined]
    for _ in range(2):
        apply_steps(editor, plan.steps)
        lines = (editor.read("/host/fstab") or b"").splitlines()
        assert lines[0].startswith(b"UUID=")
        assert lines[1].startswith(b"# imgtool: not on this image")


def test_a_link_into_the_appliances_own_system_is_no_file_of_the_guest(editor: ApplianceEditor) -> None:
    """/host/to-proc leads to /proc/version, which the appliance has and the guest has not."""
    assert editor.read("/host/to-proc") is None
    with pytest.raises(EditFailed, match=r"no regular file|No such file"):
        editor.write("/host/to-proc", b"x")


def test_a_link_that_leads_nowhere_is_not_written_through(editor: ApplianceEditor) -> None:
    editor.symlink("/host/dangling", "/host/not-there")
    with pytest.raises(EditFailed, match="no regular file"):
        editor.write("/host/dangling", b"x")
    assert editor.read("/host/not-there") is None
    editor.remove("/host/dangling")


@pytest.mark.parametrize("step", [Edit("/host/gone", b"a", b"b"), Append("/host/gone", 1, "0" * 64, b"b")])
def test_a_file_that_vanished_is_not_made_anew(editor: ApplianceEditor, step: Step) -> None:
    with pytest.raises(Outdated):
        step.apply(editor)
    assert editor.read("/host/gone") is None


@pytest.mark.parametrize("attribute", ["i", "a"])
def test_an_immutable_file_is_changed_and_immutable_again(
    session: tuple[ApplianceEditor, Any], attribute: str
) -> None:
    editor, handle = session
    path = f"/host/kept-{attribute}"
    editor.write(path, b"one\n")
    editor.chmod(path, 0o600)
    handle.set_e2attrs(path, attribute)
    editor.write(path, b"two\n")
    editor.append(path, b"three\n")
    assert editor.read(path) == b"two\nthree\n"
    assert attribute in handle.get_e2attrs(path)
    assert handle.statns(path)["st_mode"] & 0o7777 == 0o600
    editor.remove(path)
    assert editor.read(path) is None


def test_a_link_takes_the_place_of_a_link_to_a_folder(session: tuple[ApplianceEditor, Any]) -> None:
    editor, handle = session
    editor.mkdir("/a/folder")
    editor.symlink("/a/link", "folder")
    editor.symlink("/a/link", "/dev/null")
    assert handle.readlink("/a/link") == "/dev/null"
    assert handle.ls("/a/folder") == []
    editor.remove("/a/link")
    editor.remove("/a/not-there")


def test_a_filesystem_that_runs_full_is_said(editor: ApplianceEditor) -> None:
    with pytest.raises(EditFailed, match=r"/host/large can't be changed.*[Nn]o space left"):
        editor.write("/host/large", bytes(range(1, 256)) * (150 << 10))
    editor.remove("/host/large")


def test_values_and_keys_of_a_hive_are_set_and_removed(editor: ApplianceEditor, folder: Path) -> None:
    tree = {
        "A\\B": {"Keep": sz("x"), "Drop": dword(1), "": sz("default")},
        "A\\C": {},
        "A": {"Above": dword(2)},
    }
    make_hive(folder / "hive", tree)
    editor.write("/SYSTEM", (folder / "hive").read_bytes())
    for _ in range(2):
        editor.registry_set("/SYSTEM", "a\\New\\Deep", "List", RegistryValue("multi_sz", ("one", "two")))
        editor.registry_delete("/SYSTEM", "A\\b", "drop")
        editor.registry_delete("/SYSTEM", "A\\C")
        editor.registry_delete("/SYSTEM", "Not\\there", "x")
    with pytest.raises(EditFailed, match="others below it"):
        editor.registry_delete("/SYSTEM", "A", "Above")
    (folder / "hive").write_bytes(editor.read("/SYSTEM") or b"")
    said = subprocess.run(
        ["hivexregedit", "--export", "--prefix", "H", folder / "hive", "\\"], check=True, capture_output=True
    ).stdout.decode()
    assert "[H\\A\\C]" not in said
    assert "Drop" not in said
    assert '"Keep"=' in said
    assert "@=" in said
    assert "[H\\A\\New\\Deep]" in said
    assert '"Above"=dword:00000002' in said
