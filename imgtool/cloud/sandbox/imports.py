"""The import service: fetches the object over HTTP and judges it by imgtool's own check, one after the other.

It fetches from its own region's storage only (ref 01: over the internal network); whatever is wrong on the
way is InvalidUrl. Only what the platform has a code for makes an import fail; the rest shows when the image
boots.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from imgtool.cloud.sandbox.actions import FAILED, NORMAL
from imgtool.cloud.sandbox.storage import CLAIM
from imgtool.errors import ImgtoolError
from imgtool.process import CommandFailed, run

if TYPE_CHECKING:
    from imgtool.cloud.sandbox.state import State

# The order in which the platform comes to them (ref 01).
_CODES = (
    *("InvalidFormatSize", "PartitionNotPresent", "RootPartitionNotFound"),
    *("VirtioNotInstall", "CloudInitNotInstalled"),
)
_LONGEST = 600.0  # seconds for a check


class Imports:
    """Works through what is to be imported. port: our own, where the storage answers."""

    def __init__(self, state: State, region: str) -> None:
        self._state, self._region = state, region
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.port = 0

    def add(self, record: dict[str, Any]) -> None:
        """Let an image or a snapshot be next."""
        self._waiting.put_nowait(record)

    async def work(self) -> None:
        """Import, for ever; what a restart cut short begins anew."""
        for record in (*self._state.images(), *self._state.snapshots()):
            if record.get("ImageState", record.get("State")) not in (NORMAL, FAILED):
                self.add(record)
        while True:
            record = await self._waiting.get()
            code, size, why = await self._judged(record)
            self._settle(record, code, size, why)

    def _settle(self, record: dict[str, Any], code: str, size: int, why: str) -> None:
        state = FAILED if code else NORMAL
        if "TaskId" in record:
            self._state.put_snapshot({**record, "State": state})
            name = record["SnapshotName"]
        else:
            gibibytes = -(-size // (1 << 30))
            reason = {"ImageStateReason": f"{code}: {why}"} if code else {}
            self._state.put_image({**record, "ImageState": state, "ImageSize": gibibytes, **reason})
            name = record["ImageName"]
        self._state.tell(f"{name}: {state}" + (f" ({code}: {why})" if code else ""))

    async def _judged(self, record: dict[str, Any]) -> tuple[str, int, str]:
        """(platform code or "", virtual size in bytes, reason)."""
        place = self._state.new_file()
        try:
            why = await self._fetched(record["_url"], record.get("ImageId", record.get("TaskId", "")), place)
            if why:
                return "InvalidUrl", 0, why
            try:
                return await asyncio.to_thread(_check, place, record)
            except (ImgtoolError, OSError, ValueError) as error:
                return "InternalError", 0, str(error)[:300]
        finally:
            place.unlink(missing_ok=True)
            place.with_suffix(".json").unlink(missing_ok=True)

    async def _fetched(self, url: str, by: str, place: Path) -> str:
        """Fetch an object; why it could not be, or ""."""
        import aiohttp
        from yarl import URL

        parts = urlsplit(url)
        labels = (parts.hostname or "").split(".")
        ours = parts.hostname in ("127.0.0.1", "localhost") or (
            len(labels) > 2 and labels[1].startswith(("cos", "s3"))
        )
        if not ours:
            return "the link is not one of the object storage"
        if len(labels) > 3 and labels[1] in ("cos", "s3") and labels[2] != self._region:
            return f"the link leads to region {labels[2]}; this is {self._region}"
        target = URL(f"http://127.0.0.1:{self.port}{parts.path}?{parts.query}".rstrip("?"), encoded=True)
        headers = {"Host": parts.netloc, CLAIM: by}
        try:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.get(target, headers=headers, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    return f"the object storage answered {answer.status}"
                with place.open("wb") as file:
                    async for piece in answer.content.iter_any():
                        file.write(piece)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            return f"the object could not be fetched ({type(error).__name__})"
        return ""


# Not `-m imgtool`: that looks into the current folder first, which may be imgtool's own source without the
# rules that an installation has.
_IMGTOOL = "import sys; sys.path = [it for it in sys.path if it]; from imgtool.cli import main; main()"


def _check(image: Path, record: dict[str, Any]) -> tuple[str, int, str]:
    """What `imgtool check` finds that the platform has a code for. Raises ImgtoolError, ValueError."""
    report = image.with_suffix(".json")
    data_disk = "TaskId" in record
    command = [
        sys.executable,
        "-c",
        _IMGTOOL,
        "check",
        "--format",
        "json",
        "--lang",
        "en",
        "-o",
        str(report),
    ]
    command += ["--target", "data-disk" if data_disk else "import"]
    if record.get("_force"):
        command.append("--force-import")
    try:
        run([*command, "--", str(image)], timeout=_LONGEST)
    except CommandFailed as failed:
        if not report.exists():
            raise
        del failed
    found = json.loads(report.read_text(encoding="utf-8"))["images"][0]
    size = found["facts"].get("virtual_size") or 0
    bad = {
        finding["platform_code"]: finding["message"]
        for finding in reversed(found["findings"])
        if finding["platform_code"]
        and finding["severity"] == "error"
        and finding["status"] in ("fail", "unknown")
    }
    for code in _CODES:
        if code in bad:
            return code, size, bad[code]
    if not size:
        return "InternalError", 0, "the image could not be read"
    limit = record.get("SnapshotSize", 0) << 30
    if limit and size > limit:
        return "InvalidFormatSize", size, f"the disk has {size} bytes, more than the {limit} of the snapshot"
    return "", size, ""
