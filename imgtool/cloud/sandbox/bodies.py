"""A request's body on its way to a file: decoded, counted and digested as it comes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.cloud.sandbox.signatures.seen import Refused
from imgtool.convert.crc64 import crc64_function
from imgtool.errors import MachineLacks

if TYPE_CHECKING:
    from aiohttp import StreamReader

_LINE = 1024  # bytes of a chunk's head or of a trailer


@dataclass(frozen=True)
class Content:
    """A body that arrived whole and lies in a file."""

    path: Path
    size: int
    md5: str
    crc64: int
    checksums: Mapping[str, str]


class Cut(Exception):
    """The connection is to be cut here (a fault), or was cut by the other side."""


async def receive(
    body: StreamReader,
    path: Path,
    *,
    headers: Mapping[str, str],
    payload: str,
    length: int | None,
    rate: int = 0,
    cut_at: int | None = None,
) -> Content:
    """Write a body to a file.

    payload: what an S3 signature says of it, "" for COS. length: as announced. rate: bytes a second, 0 for as
    fast as it comes. cut_at: the byte at which to raise Cut. Raises Refused (BadDigest, IncompleteBody,
    XAmzContentSHA256Mismatch), Cut; then there is no file.
    """
    crc64 = crc64_function()
    if crc64 is None:
        raise MachineLacks("liblzma", "liblzma5")
    chunked = payload.startswith("STREAMING-")
    trailer: dict[str, str] = {}
    pieces = _decoded(body, trailer) if chunked else _plain(body)
    md5, size, crc, crc32 = hashlib.md5(usedforsecurity=False), 0, 0, 0
    sha256 = hashlib.sha256() if len(payload) == 64 else None
    began = asyncio.get_running_loop().time()
    try:
        with path.open("xb", buffering=0) as file:
            async for piece in pieces:
                file.write(piece)
                md5.update(piece)
                crc, crc32 = crc64(piece, crc), zlib.crc32(piece, crc32)
                if sha256 is not None:
                    sha256.update(piece)
                size += len(piece)
                if cut_at is not None and size >= cut_at:
                    raise Cut
                if rate:
                    ahead = size / rate - (asyncio.get_running_loop().time() - began)
                    await asyncio.sleep(max(0.0, ahead))
        if not chunked and length is not None and size != length:
            raise Refused("IncompleteBody", "The body has fewer bytes than Content-Length says.")
        if sha256 is not None and sha256.hexdigest() != payload:
            raise Refused("XAmzContentSHA256Mismatch", "The body is not what its signature was made for.")
        claimed = headers.get("content-md5")
        if claimed and claimed != base64.b64encode(md5.digest()).decode():
            raise Refused("BadDigest", "The Content-MD5 you specified does not match what we received.")
        checksums = {"crc32": base64.b64encode(crc32.to_bytes(4, "big")).decode()}
        for name, value in {**headers, **trailer}.items():
            if name == "x-amz-checksum-crc32" and value != checksums["crc32"]:
                raise Refused("BadDigest", "The CRC32 you specified does not match what we received.")
        return Content(path, size, md5.hexdigest(), crc, checksums)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(path)
        if isinstance(error, (ConnectionError, asyncio.IncompleteReadError)):
            raise Cut from error
        raise


async def _plain(body: StreamReader) -> AsyncIterator[bytes]:
    async for piece in body.iter_any():
        yield piece


async def _decoded(body: StreamReader, trailer: dict[str, str]) -> AsyncIterator[bytes]:
    """aws-chunked: each chunk after a line with its length in hex; a chunk of none, trailing headers, an end.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html. Chunk signatures are not looked at.
    """
    while True:
        head = (await body.readuntil(b"\r\n"))[:-2]
        try:
            left = int(head.partition(b";")[0], 16)
        except ValueError:
            raise Refused("InvalidRequest", "The body is not what aws-chunked means.") from None
        if not left:
            break
        while left:
            piece = await body.read(min(left, 1 << 18))
            if not piece:
                raise Refused("IncompleteBody", "The body ended inside a chunk.")
            left -= len(piece)
            yield piece
        await body.readexactly(2)
    with suppress(asyncio.IncompleteReadError, ConnectionError, binascii.Error):
        while line := (await body.readuntil(b"\r\n")).strip()[:_LINE]:
            name, _, value = line.decode("ascii", "replace").partition(":")
            trailer[name.strip().lower()] = value.strip()
