"""imgtool as people run it, with the sandbox for their cloud."""

from __future__ import annotations

import hashlib
from pathlib import Path

from imgtool.cloud.sandbox.server import Sandbox
from tests.cli.running import environment


def environment_for(sandbox: Sandbox, home: Path) -> dict[str, str]:
    own = {"HOME": str(home), "XDG_CONFIG_HOME": None, "XDG_STATE_HOME": str(home / "state")}
    return environment(**own, **sandbox.environment())


def object_of(sandbox: Sandbox, key: str) -> bytes | None:
    item = sandbox.state.find_object(sandbox.bucket, key)
    if item is None:
        return None
    return b"".join((sandbox.state.files / name).read_bytes() for name, _ in item.files)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
