"""What the platform hands to a guest: config drive, metadata service, the script that reports."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from imgtool.rehearsal.config_drive import contents, iso
from imgtool.rehearsal.guest_script import MARK, REPORT_PATH, parse, typed
from imgtool.rehearsal.instance import Instance, new_instance
from imgtool.rehearsal.machine import RELAY
from imgtool.rehearsal.metadata import LARGEST_REPORT, MOST_CONNECTIONS, MetadataService, answer, pages


@pytest.fixture
def instance() -> Instance:
    return new_instance()


def asked(name: str, request: bytes) -> bytes:
    """What the service says through QEMU's relay, which a child process here is."""
    command = [sys.executable, "-I", "-S", str(RELAY), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as relay:
        assert relay.stdin is not None
        assert relay.stdout is not None
        relay.stdin.write(request)
        relay.stdin.flush()
        said = b""
        while b"\r\n\r\n" not in said:
            said += relay.stdout.read1(65536)  # type: ignore[attr-defined]
        head, _, body = said.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += relay.stdout.read1(65536)  # type: ignore[attr-defined]
        relay.stdin.close()
    return head.split(b"\r\n")[0] + b"\n" + body


def printed(*command: str | Path) -> str:
    """What a program prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_every_instance_is_new() -> None:
    one, other = new_instance(), new_instance()
    for name in ("id", "uuid", "hostname", "password", "password_hash", "public_key", "token"):
        assert getattr(one, name) != getattr(other, name)


def test_the_hash_is_the_passwords(instance: Instance) -> None:
    salt = instance.password_hash.split("$")[2]
    command = ["openssl", "passwd", "-6", "-salt", salt, "-stdin"]
    said = subprocess.run(command, input=instance.password, capture_output=True, text=True, check=True).stdout
    assert said.strip() == instance.password_hash


def test_ssh_takes_the_key_for_one(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(instance.public_key + "\n")
    assert "ED25519" in printed("ssh-keygen", "-l", "-f", tmp_path / "key.pub")


def test_the_config_drive_has_its_label_and_files_under_their_own_names(
    instance: Instance, tmp_path: Path
) -> None:
    path = tmp_path / "cd.iso"
    files = contents(instance.documents(), instance.os_conf())
    path.write_bytes(iso(files))
    assert printed("blkid", "-o", "value", "-s", "LABEL", path) == "config-2"
    subprocess.run(
        ["xorriso", "-osirrox", "on", "-indev", path, "-extract", "/", tmp_path / "out"],
        check=True,
        capture_output=True,
    )
    found = {
        str(it.relative_to(tmp_path / "out")): it.read_bytes()
        for it in (tmp_path / "out").rglob("*")
        if it.is_file()
    }
    assert found == files
    assert {"openstack/latest/meta_data.json", "qcloud_action/os.conf"} < files.keys()


def test_an_image_imported_by_force_gets_os_conf_alone(instance: Instance) -> None:
    files = contents({}, instance.os_conf())
    assert list(files) == ["qcloud_action/os.conf"]
    assert f"password={instance.password_hash}\n".encode() in files["qcloud_action/os.conf"]


def test_the_vendor_data_is_cloud_config(instance: Instance) -> None:
    vendor = json.loads(instance.documents()["vendor_data.json"])["cloud-init"]
    assert vendor.startswith("#cloud-config\n")
    config = yaml.safe_load(vendor)
    assert config["hostname"] == instance.hostname
    assert config["chpasswd"]["list"] == f"root:{instance.password_hash}\n"


@pytest.mark.parametrize("version", ["latest", "1.0", "2017-09-19", "2009-04-04"])
def test_the_metadata_is_there_under_every_version(instance: Instance, version: str) -> None:
    tree = pages(instance)
    assert answer(tree, f"/{version}/meta-data/instance-id") == instance.id.encode()
    assert answer(tree, f"/{version}/user-data") == instance.user_data.encode()
    assert answer(tree, f"/{version}/meta-data/nothing") is None


def test_folders_list_what_is_in_them(instance: Instance) -> None:
    tree = pages(instance)
    assert b"placement/" in (answer(tree, "/latest/meta-data/") or b"").split(b"\n")
    assert answer(tree, "/latest/meta-data/network/interfaces/macs/") == b"52:54:00:1D:C0:DE/"
    assert b"latest" in (answer(tree, "/openstack") or b"")
    meta = answer(tree, "/openstack/2018-08-27/meta_data.json")
    assert meta is not None
    assert json.loads(meta)["uuid"] == instance.uuid


def test_the_guest_reaches_the_service_and_its_report_arrives(instance: Instance) -> None:
    with MetadataService(instance) as service:
        got = asked(service.name, b"GET /latest/meta-data/uuid HTTP/1.1\r\nHost: x\r\n\r\n")
        assert got == b"HTTP/1.1 200 OK\n" + instance.uuid.encode()
        body = b"hostname=vm\nend=1\n"
        head = f"POST {REPORT_PATH}/{instance.token} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        assert asked(service.name, head + body).startswith(b"HTTP/1.1 200")
        assert service.report == ["hostname=vm", "end=1"]


@pytest.mark.parametrize(
    ("path", "length"), [(f"{REPORT_PATH}/other", 3), ("/", 3), (REPORT_PATH, LARGEST_REPORT + 1)]
)
def test_a_report_that_is_not_this_runs_or_too_long_is_refused(
    instance: Instance, path: str, length: int
) -> None:
    with MetadataService(instance) as service:
        head = f"POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\nabc".encode()
        assert b" 4" in asked(service.name, head).split(b"\n")[0]
        assert service.report is None


def test_a_guest_that_holds_all_connections_does_not_hold_us(instance: Instance) -> None:
    held = []
    with MetadataService(instance) as service:
        for _ in range(MOST_CONNECTIONS + 4):
            connection = socket.socket(socket.AF_UNIX)  # blocking: connect waits until it is taken
            connection.connect("\0" + service.name)
            held.append(connection)
        held[-1].settimeout(20)
        assert held[-1].recv(1) == b"", "one too many is closed at once"
    for connection in held:
        connection.close()


def test_the_typed_report_comes_out_of_a_real_shell(instance: Instance) -> None:
    lines = typed(instance.token, instance.password_hash)
    assert max(map(len, lines)) < 1000
    script = "\n".join(line for line in lines if not line.startswith("stty"))
    said = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False).stdout
    mark = f"{MARK}-{instance.token} "
    facts = parse([line.removeprefix(mark) for line in said.splitlines() if line.startswith(mark)])
    assert facts["end"] == "1"
    assert facts["kernel"] == printed("uname", "-r")


def test_the_script_is_right_for_a_plain_shell(instance: Instance) -> None:
    subprocess.run(["sh", "-n"], input=instance.user_data, text=True, check=True)
