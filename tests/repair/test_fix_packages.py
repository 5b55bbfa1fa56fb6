"""`imgtool fix` running programs of the guest: packages from a repository and from a folder, and the guest's
own tool that makes an initramfs. One Debian: its Python lacks yaml, its initramfs has no virtio."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fixtures import cache, golden, images
from fixtures.command import run
from fixtures.variants import boot as boot_variants
from fixtures.variants import cloud_init as cloud_init_variants
from fixtures.variants.guest import Guest
from tests.cli.running import environment, start
from tests.repair.test_fix_real import broken, fix

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fix packages")]

PACKAGE = "python3-yaml"
HOST = "169.254.2.2"  # this machine's loopback, as QEMU's user network shows it to libguestfs's appliance
SOURCES = "/etc/apt/sources.list"
RULES = {"linux.cloud-init.installed", "linux.virtio.initramfs"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with cache.scratch() as made:
        yield made


@pytest.fixture(scope="module")
def packages(folder: Path) -> Path:
    """A repository of one package, from Debian's own archive."""
    made = folder / "packages"
    made.mkdir()
    run(["apt-get", "-qq", "download", PACKAGE], cwd=made, timeout=600)
    (package,) = made.glob("*.deb")
    fields = run(["dpkg-deb", "-f", package]).decode()
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    place = f"Filename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
    (made / "Packages").write_text(fields + place)
    return made


@pytest.fixture(scope="module")
def port(packages: Path) -> Iterator[int]:
    """The repository served on loopback."""
    handler = partial(Quiet, directory=str(packages))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@pytest.fixture(scope="module")
def guest(folder: Path) -> Guest:
    path = images.make("debian12-bios", folder)
    facts = json.loads((images.path("debian12-bios").parent / "facts.json").read_text())
    made = Guest(path, facts, golden.START)
    boot_variants.no_virtio_initramfs(made)
    cloud_init_variants.cloud_init_without_yaml(made)
    # what mkinitramfs takes along is asked for by name: a tenth of the time
    made.substitute("/etc/initramfs-tools/initramfs.conf", "MODULES=most", "MODULES=list")
    return made


def asks(guest: Guest, port: int) -> None:
    """The guest's package manager is to ask for packages at a port of this machine."""
    guest.replace(SOURCES, f"deb [trusted=yes] http://{HOST}:{port} ./\n".encode())


def test_packages_come_by_the_network_and_the_guests_own_tool_makes_its_initramfs(
    guest: Guest, port: int, folder: Path
) -> None:
    asks(guest, port)
    out = folder / "network.qcow2"
    report = fix(guest.disk, "-o", out, "--network", "--rebuild-initramfs", code=None)
    assert broken(report["before"]) >= RULES
    assert not broken(report["after"]) & RULES, report["unmended"]
    assert {step["network"] for step in report["steps"] if step["action"] == "run"} == {True, False}


def test_packages_are_installed_from_a_folder_without_a_network(
    guest: Guest, packages: Path, folder: Path
) -> None:
    out = folder / "given.qcow2"
    only = ("--only", "linux.cloud-init.installed", "--cloud-init-packages", packages)
    report = fix(guest.disk, "-o", out, *only, code=None)
    assert "linux.cloud-init.installed" not in broken(report["after"])
    assert {step["network"] for step in report["steps"] if step["action"] == "run"} == {False}


def test_a_repository_that_does_not_answer_is_said_and_nothing_is_kept(guest: Guest, folder: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        asks(guest, nobody.getsockname()[1])
        out = folder / "refused.qcow2"
        only = ("--only", "linux.cloud-init.installed", "--network")
        told = start("fix", guest.disk, "-o", out, *only, env=environment())
        _, said = told.communicate(timeout=800)
    assert told.returncode == 3
    assert "This runs programs of the guest itself" in said
    assert "apt-get" in said
    assert "--cloud-init-packages" in said
    assert "Traceback" not in said
    assert not out.exists()
