"""Proxies from the environment: storage and API go through them, but for what NO_PROXY names."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from tests.cli.running import imgtool
from tests.cloud import tiny_linux

Env = dict[str, str]
_HOP = ("connection", "proxy-connection", "keep-alive", "transfer-encoding")


class Proxy(ThreadingHTTPServer):
    """A forward proxy for http. seen: (method, host, path, API action), in order."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forwards)
        self.to, self.seen = port, list[tuple[str, str, str, str]]()


class _Forwards(BaseHTTPRequestHandler):
    server: Proxy

    def _forward(self) -> None:
        parts = urlsplit(self.path)
        action = self.headers.get("X-TC-Action", "")
        self.server.seen.append((self.command, parts.netloc, parts.path, action))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        connection.request(self.command, parts._replace(scheme="", netloc="").geturl(), body, headers)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def proxy(sandbox: Sandbox) -> Iterator[Proxy]:
    with Proxy(sandbox.port) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def behind(sandbox: Sandbox, env: Env, proxy: Proxy) -> Env:
    """A person whose names only the proxy can resolve."""
    address = f"http://127.0.0.1:{proxy.server_port}"
    without = {name: value for name, value in env.items() if name.lower() != "no_proxy"}
    del without["IMGTOOL_COS_CONNECT"]
    return {
        **without,
        "IMGTOOL_CVM_ENDPOINT": "cvm.api.private.example",
        "HTTP_PROXY": address,
        "http_proxy": address,
        "IMGTOOL_RETRIES": "0",
    }


def test_storage_and_api_are_reached_through_the_proxy(
    sandbox: Sandbox, tmp_path: Path, behind: Env, proxy: Proxy
) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    done = imgtool("prepare", disk, "--name", "one", "--public-read", env=behind)
    assert done.returncode == 0, done.stderr
    assert [image["ImageState"] for image in sandbox.state.images()] == ["NORMAL"]
    hosts = {host for _, host, _, _ in proxy.seen}
    assert hosts == {f"{sandbox.bucket}.{sandbox.endpoint}", "cvm.api.private.example"}
    # a public object is imported by its plain link
    assert sandbox.state.images()[0]["_url"].endswith(f"{sandbox.endpoint}/imgtool-one.qcow2")


def test_what_no_proxy_names_is_reached_directly(sandbox: Sandbox, behind: Env, proxy: Proxy) -> None:
    """By its domain, and without its port: for the API as for the storage."""
    direct = {
        **behind,
        "IMGTOOL_CVM_ENDPOINT": f"127.0.0.1:{sandbox.port}",
        "IMGTOOL_COS_CONNECT": f"127.0.0.1:{sandbox.port}",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    assert imgtool("doctor", "--cloud", env=direct).returncode == 0
    assert proxy.seen == []
    private = {**direct, "IMGTOOL_CVM_ENDPOINT": "cvm.private.invalid", "no_proxy": ".private.invalid"}
    done = imgtool("doctor", "--cloud", env={**private, "NO_PROXY": ".private.invalid"})
    assert (done.returncode, "cvm.private.invalid can't be resolved" in done.stdout) == (5, True), done.stdout


def test_doctor_changes_nothing(sandbox: Sandbox, behind: Env, proxy: Proxy) -> None:
    done = imgtool("doctor", "--cloud", env=behind)
    assert done.returncode == 0, done.stdout
    changing = [
        seen
        for seen in proxy.seen
        if not (seen[3].startswith("Describe") if seen[3] else seen[0] in ("GET", "HEAD"))
    ]
    assert len(proxy.seen) >= 4
    assert changing == []
