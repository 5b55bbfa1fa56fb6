"""The metadata service (ref 14), and the place where the guest's report arrives.

It listens on an abstract Unix socket, so there is no port to be taken and no file to be left; QEMU's relay
connects the guest to it (imgtool.rehearsal.relay). Only processes of this user are answered.
"""

from __future__ import annotations

import os
import secrets
import socket
import socketserver
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any

from imgtool.rehearsal.guest_script import REPORT_PATH
from imgtool.rehearsal.instance import Instance
from imgtool.rehearsal.machine import ADDRESS, GATEWAY, MAC, NETMASK

LARGEST_REPORT = 64 * 1024
MOST_CONNECTIONS = 16
PATIENCE = 30.0  # seconds for one request
REQUESTS_KEPT = 200


def pages(instance: Instance) -> dict[str, bytes]:
    """What there is to get, by path without version: OpenStack's documents, and the metadata of ref 14."""
    interface = f"network/interfaces/macs/{MAC.upper()}"
    local = f"{interface}/local-ipv4s/{ADDRESS}"
    values = {
        "instance-id": instance.id,
        "instance-name": instance.hostname,
        "hostname": instance.hostname,
        "local-hostname": instance.hostname,
        "uuid": instance.uuid,
        "local-ipv4": ADDRESS,
        "mac": MAC.upper(),
        "placement/region": "rehearsal",
        "placement/zone": "rehearsal-1",
        "placement/availability-zone": "rehearsal-1",
        f"{interface}/mac": MAC.upper(),
        f"{interface}/primary-local-ipv4": ADDRESS,
        f"{local}/gateway": GATEWAY,
        f"{local}/local-ipv4": ADDRESS,
        f"{local}/subnet-mask": NETMASK,
        "public-keys/0/openssh-key": instance.public_key,
    }
    documents = instance.documents()
    return {
        **{f"openstack/latest/{name}": content for name, content in documents.items()},
        **{f"latest/meta-data/{name}": value.encode() for name, value in values.items()},
        "latest/user-data": documents["user_data"],
    }


def answer(tree: Mapping[str, bytes], path: str) -> bytes | None:
    """The page at a path, whatever version of the service it names, or a folder's listing; None for 404."""
    words = [word for word in path.split("?", 1)[0].split("/") if word]
    if words == ["openstack"]:
        return b"2012-08-10\n2013-10-17\n2015-10-15\nlatest"
    place = 1 if words[:1] == ["openstack"] else 0
    if len(words) > place and words[place] != "meta-data":
        words[place] = "latest"
    elif words[place : place + 1] == ["meta-data"]:
        words.insert(place, "latest")
    if words[place + 1 : place + 3] == ["meta-data", "public-keys"] and len(words) == place + 3:
        return b"0=imgtool"
    name = "/".join(words)
    if name in tree:
        return tree[name]
    start = f"{name}/" if name else ""
    below = {key[len(start) :] for key in tree if key.startswith(start)}
    if not below:
        return None
    heads = {head + ("/" if rest else "") for head, rest, _ in (key.partition("/") for key in below)}
    return "\n".join(sorted(heads)).encode()


class MetadataService:
    """A context manager. `name` is the abstract socket's; `report` what the guest told, once it has."""

    def __init__(self, instance: Instance) -> None:
        self.name = f"imgtool-rehearsal-{secrets.token_hex(16)}"
        self.requests: list[str] = []
        self._token = instance.token
        self._report: list[str] | None = None
        self._server = _Server(f"\0{self.name}", self, pages(instance))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def report(self) -> list[str] | None:
        """The lines that the user-data script sent; None as long as it did not."""
        return self._report

    def __enter__(self) -> MetadataService:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def note(self, request: str) -> None:
        """Keep what was asked, up to a bound."""
        if len(self.requests) < REQUESTS_KEPT:
            self.requests.append(request[:200])

    def restart(self) -> None:
        """Wait for a report anew: the guest is powered on again."""
        self._report = None

    def take_report(self, path: str, body: bytes) -> bool:
        """Take the guest's report. The first of a boot counts; False for one that is not of this run."""
        if path != f"{REPORT_PATH}/{self._token}":
            return False
        if self._report is None:
            self._report = body.decode(errors="replace").splitlines()
        return True


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False  # a guest that holds a connection open must not hold us
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, name: str, service: MetadataService, tree: Mapping[str, bytes]) -> None:
        self.service = service
        self.tree = tree
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(name, _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        _, user, _ = struct.unpack("3i", request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return bool(user == os.geteuid()) and self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A guest that breaks its connection off is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "metadata"
    sys_version = ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        self.server.service.note(f"GET {self.path}")
        page = answer(self.server.tree, self.path)
        self._send(404 if page is None else 200, page or b"")

    def do_POST(self) -> None:
        self.server.service.note(f"POST {self.path}")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST_REPORT:
            self.close_connection = True
            self._send(413, b"")
            return
        taken = self.server.service.take_report(self.path, self.rfile.read(int(length)))
        self._send(200 if taken else 404, b"ok" if taken else b"")

    def _send(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "guest"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing on standard error: a guest must not write to our terminal."""
