"""Reading a request: what its signature is over, and which bucket and object it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from imgtool.cloud.sandbox.signatures.seen import Seen

if TYPE_CHECKING:
    from aiohttp import web

_HOST = re.compile(r"([a-z0-9][a-z0-9-]*)\.(cos[a-z]*|s3)\.(.+)")


@dataclass(frozen=True)
class Place:
    """What a request is about. key "": the bucket; bucket "": the account."""

    bucket: str
    key: str
    region: str | None


def seen_of(request: web.Request) -> Seen:
    """A request as its signature sees it."""
    path, _, query = request.raw_path.partition("?")
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Seen(request.method, path, query, pairs, headers)


def place_of(seen: Seen) -> Place:
    """The bucket and key that a request names."""
    host = seen.headers.get("host", "").rpartition("]")[2].partition(":")[0].lower()
    path = unquote(seen.path).lstrip("/") if not seen.path.startswith("//") else unquote(seen.path)[1:]
    by_host = _HOST.fullmatch(host)
    if by_host is not None:
        region = by_host[3].partition(".")[0] if by_host[2] in ("cos", "s3") else None
        return Place(by_host[1], path, region)
    bucket, _, key = path.partition("/")
    return Place(bucket, key, None)
