"""Object storage: COS, and S3 beside it, over one set of buckets.

Which of the two a request speaks shows in its signature. A bucket is named by the host (BUCKET.cos.REGION.…)
or, where the host is an address, by the first part of the path.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING

from aiohttp import web

from imgtool.cloud.address import LONGEST_KEY
from imgtool.cloud.sandbox import xml
from imgtool.cloud.sandbox.bodies import Content, Cut, receive
from imgtool.cloud.sandbox.requests import Place, place_of, seen_of
from imgtool.cloud.sandbox.signatures import aws, cos
from imgtool.cloud.sandbox.signatures.seen import Keys, Refused, Seen
from imgtool.cloud.sandbox.state import Part, State, StoredObject
from imgtool.convert.crc64 import crc64_function

if TYPE_CHECKING:
    from imgtool.cloud.sandbox.faults import Faults

MIN_PART = 1 << 20  # COS: every part but the last one
MAX_PARTS = 10_000
CLAIM = "x-sandbox-import"  # the import service says so who fetches a link, which nobody else may fetch again
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{0,39}-\d{4,20}")
_STATUS = {
    "AccessDenied": 403,
    "BucketAlreadyOwnedByYou": 409,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidRange": 416,
    "InvalidToken": 403,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "RequestTimeTooSkewed": 403,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
}


@dataclass(frozen=True)
class _Call:
    """One request that may be made. payload: what an S3 signature says of the body; part: the number it
    names.
    """

    request: web.Request
    seen: Seen
    place: Place
    headers: dict[str, str]
    payload: str
    part: int | None


class Storage:
    """Answers requests to the storage. now: the clock, in seconds since 1970."""

    def __init__(self, state: State, keys: Keys, region: str, faults: Faults) -> None:
        self._state, self._keys, self._region, self._faults = state, keys, region, faults
        self.received: list[tuple[str, int]] = []  # (upload, part), as they came

    async def answer(self, request: web.Request, now: float) -> web.StreamResponse:
        """One request. Cut connections and refusals included."""
        request_id = secrets.token_hex(12)
        try:
            return await self._answer(request, seen_of(request), now, request_id)
        except Refused as refused:
            status = _STATUS.get(refused.code, 400)
            body = xml.error(refused.code, refused.message, request.path, request_id)
            if request.method == "HEAD":
                body = b""
            headers = {"x-cos-request-id": request_id, "x-amz-request-id": request_id}
            return web.Response(status=status, body=body, headers=headers, content_type="application/xml")
        except Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=400)

    async def _answer(
        self, request: web.Request, seen: Seen, now: float, request_id: str
    ) -> web.StreamResponse:
        place = place_of(seen)
        part = seen.number("partNumber", 0) or None
        if self._faults.strikes("503", part):
            raise Refused("ServiceUnavailable", "Please reduce your request rate.")
        if self._faults.strikes("expired", part):
            raise Refused("AccessDenied", "Request has expired")
        payload = self._authorized(seen, place, now)
        headers = {"x-cos-request-id": request_id, "x-amz-request-id": request_id}
        call = _Call(request, seen, place, headers, payload, part)
        if not place.key:
            return self._bucket(call)
        _require_key(place.key)
        if not self._state.has_bucket(place.bucket) or place.region not in (None, self._region):
            raise Refused("NoSuchBucket", "The specified bucket does not exist.")
        if any(name == "uploads" for name, _ in seen.query):
            return self._begin(call)
        upload_id = seen.parameter("uploadId")
        if upload_id is not None:
            return await self._multipart(call, upload_id)
        if any(name == "acl" for name, _ in seen.query):
            return self._acl(call)
        if seen.method == "PUT":
            return await self._put(call)
        if seen.method in ("GET", "HEAD"):
            return await self._get(call)
        if seen.method == "DELETE":
            self._state.delete_object(place.bucket, place.key)
            return web.Response(status=204, headers=headers)
        raise Refused("MethodNotAllowed", "The specified method is not allowed against this resource.")

    def _authorized(self, seen: Seen, place: Place, now: float) -> str:
        """What the signature says of the body. Raises Refused where a request may not be made."""
        if aws.is_signed(seen):
            by_aws = aws.verify(seen, self._keys, now)
            self._use_link(by_aws.link, seen)
            return by_aws.payload
        if cos.is_signed(seen):
            self._use_link(cos.verify(seen, self._keys, now).link, seen)
            return ""
        item = self._state.find_object(place.bucket, place.key)
        if seen.method in ("GET", "HEAD") and item is not None and item.public:
            return ""
        raise Refused("AccessDenied", "Access Denied.")

    def _use_link(self, link: str, seen: Seen) -> None:
        """Ref 01: a signed link can be fetched once."""
        if link and seen.method == "GET" and not self._state.use_link(link, seen.headers.get(CLAIM, "")):
            raise Refused("AccessDenied", "The signed link has been used: it can be fetched once.")

    # -- buckets

    def _bucket(self, call: _Call) -> web.StreamResponse:
        seen, place, headers = call.seen, call.place, call.headers
        if not place.bucket:
            rows = (xml.element("Bucket", Name=name) for name in self._state.buckets())
            return _xml(xml.document("ListAllMyBucketsResult", xml.element("Buckets", *rows)), headers)
        if seen.method == "PUT":
            if not _BUCKET.fullmatch(place.bucket):
                raise Refused("InvalidBucketName", "A bucket is named NAME-APPID.")
            self._state.add_bucket(place.bucket)
            return web.Response(headers=headers)
        if not self._state.has_bucket(place.bucket) or place.region not in (None, self._region):
            raise Refused("NoSuchBucket", "The specified bucket does not exist.")
        if seen.method == "HEAD":
            return web.Response(headers={**headers, "x-cos-bucket-region": self._region})
        if seen.method != "GET":
            raise Refused("MethodNotAllowed", "The specified method is not allowed against this resource.")
        prefix = seen.parameter("prefix") or ""
        if any(name == "uploads" for name, _ in seen.query):
            return _xml(xml.uploads(place.bucket, self._state.uploads(place.bucket, prefix)), headers)
        return _xml(
            xml.listing(place.bucket, prefix, self._state.list_objects(place.bucket, prefix)), headers
        )

    # -- multipart uploads

    def _begin(self, call: _Call) -> web.Response:
        seen, place, headers = call.seen, call.place, call.headers
        if seen.method != "POST":
            raise Refused("MethodNotAllowed", "The specified method is not allowed against this resource.")
        checksum = ""
        if seen.headers.get("x-amz-checksum-algorithm") == "CRC32":
            checksum = seen.headers.get("x-amz-checksum-type", "COMPOSITE")
            headers = {**headers, "x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": checksum}
        type_ = seen.headers.get("content-type", "application/octet-stream")
        upload = self._state.begin_upload(place.bucket, place.key, type_, _public(seen), checksum)
        fields = {"Bucket": place.bucket, "Key": place.key, "UploadId": upload.id}
        return _xml(xml.document("InitiateMultipartUploadResult", **fields), headers)

    async def _multipart(self, call: _Call, upload_id: str) -> web.StreamResponse:
        seen, place, headers, number = call.seen, call.place, call.headers, call.part
        upload = self._state.upload(upload_id, place.bucket, place.key)
        if upload is None:
            raise Refused("NoSuchUpload", "The specified multipart upload does not exist.")
        if seen.method == "DELETE":
            self._state.abort(upload.id)
            return web.Response(status=204, headers=headers)
        if seen.method == "GET":
            marker = seen.number("part-number-marker", 0)
            most = min(1000, seen.number("max-parts", 1000))
            later = [part for part in self._state.parts(upload.id) if part.number > marker]
            return _xml(xml.parts(upload, later[:most], marker, most, len(later) > most), headers)
        if seen.method == "PUT":
            if number is None or not 1 <= number <= MAX_PARTS:
                raise Refused("InvalidArgument", "Part number must be an integer between 1 and 10000.")
            content = await self._received(call, number)
            part = Part(
                *(number, content.size, content.md5, content.crc64, content.checksums),
                *(content.path.name, time.time()),
            )
            self._state.put_part(upload.id, part)
            self.received.append((upload.id, number))
            if self._faults.strikes("drop-after", number):
                raise Cut
            return web.Response(headers={**headers, **self._digests(content, number)})
        if seen.method == "POST":
            asked = xml.asked_parts(await call.request.read())
            item = await self._assembled(upload_id, place, asked)
            self._state.complete(upload.id, item)
            crc = item.crc64 ^ int(self._faults.strikes("wrong-crc"))
            fields = {"Location": f"{place.bucket}/{place.key}", "Bucket": place.bucket, "Key": place.key}
            answer = xml.document(
                "CompleteMultipartUploadResult",
                **fields,
                ETag=f'"{item.etag}"',
                ChecksumCRC32=item.checksums.get("crc32"),
                ChecksumType=item.checksums.get("type"),
            )
            return _xml(answer, {**headers, "x-cos-hash-crc64ecma": str(crc)})
        raise Refused("MethodNotAllowed", "The specified method is not allowed against this resource.")

    async def _assembled(self, upload_id: str, place: Place, asked: list[tuple[int, str]]) -> StoredObject:
        upload = self._state.upload(upload_id, place.bucket, place.key)
        there = {part.number: part for part in self._state.parts(upload_id)}
        numbers = [number for number, _ in asked]
        if numbers != sorted(set(numbers)):
            raise Refused("InvalidPartOrder", "The list of parts was not in ascending order.")
        for number, etag in asked:
            if number not in there or there[number].etag != etag:
                raise Refused("InvalidPart", f"Part {number} could not be found, or its ETag is another one.")
        used = [there[number] for number in numbers]
        if any(part.size < MIN_PART for part in used[:-1]):
            raise Refused("EntityTooSmall", "A part that is not the last one is smaller than 1 MB.")
        md5 = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in used), usedforsecurity=False)
        crc64, crc32 = await asyncio.to_thread(self._crcs, [part.file for part in used])
        checksums: dict[str, str] = {}
        if upload is not None and upload.checksum == "FULL_OBJECT":
            checksums = {"crc32": _base64(crc32), "type": "FULL_OBJECT"}
        elif upload is not None and upload.checksum:
            each = b"".join(base64.b64decode(part.checksums["crc32"]) for part in used)
            checksums = {"crc32": f"{_base64(zlib.crc32(each))}-{len(used)}", "type": "COMPOSITE"}
        return StoredObject(
            *(place.bucket, place.key, sum(part.size for part in used), f"{md5.hexdigest()}-{len(used)}"),
            *(crc64, upload.type if upload else "", bool(upload and upload.public), time.time()),
            files=tuple((part.file, part.size) for part in used),
            checksums=checksums,
        )

    def _crcs(self, names: Iterable[str]) -> tuple[int, int]:
        """CRC-64 and CRC-32 of files one after the other, from their bytes, not from their parts' CRCs."""
        crc64 = crc64_function()
        whole64 = whole32 = 0
        for name in names:
            with (self._state.files / name).open("rb") as file:
                while piece := file.read(1 << 20):
                    whole64 = crc64(piece, whole64) if crc64 is not None else 0
                    whole32 = zlib.crc32(piece, whole32)
        return whole64, whole32

    # -- objects

    async def _received(self, call: _Call, part: int | None) -> Content:
        seen = call.seen
        length = seen.headers.get("content-length")
        size = int(length) if length and length.isdecimal() else None
        cut_at = (size or 2) // 2 if self._faults.strikes("drop", part) and part is not None else None
        return await receive(
            call.request.content,
            self._state.new_file(),
            headers=seen.headers,
            payload=call.payload,
            length=size,
            rate=self._faults.value("slow"),
            cut_at=cut_at,
        )

    def _digests(self, content: Content, part: int | None) -> dict[str, str]:
        crc = content.crc64 ^ int(self._faults.strikes("wrong-crc", part))
        return {
            "ETag": f'"{content.md5}"',
            "x-cos-hash-crc64ecma": str(crc),
            "x-amz-checksum-crc32": content.checksums["crc32"],
        }

    async def _put(self, call: _Call) -> web.Response:
        seen, place, headers = call.seen, call.place, call.headers
        if "x-cos-copy-source" in seen.headers or "x-amz-copy-source" in seen.headers:
            raise Refused("NotImplemented", "The sandbox does not copy.")
        content = await self._received(call, None)
        self._state.put_object(
            StoredObject(
                *(place.bucket, place.key, content.size, content.md5, content.crc64),
                *(seen.headers.get("content-type", "application/octet-stream"), _public(seen), time.time()),
                files=((content.path.name, content.size),),
                checksums={**content.checksums, "type": "FULL_OBJECT"},
            )
        )
        return web.Response(headers={**headers, **self._digests(content, None)})

    def _acl(self, call: _Call) -> web.Response:
        seen, place, headers = call.seen, call.place, call.headers
        item = self._object(place)
        if seen.method == "PUT":
            self._state.set_public(place.bucket, place.key, _public(seen))
            return web.Response(headers=headers)
        grant = xml.element("Grant", Permission="READ" if item.public else "FULL_CONTROL")
        return _xml(xml.document("AccessControlPolicy", xml.element("AccessControlList", grant)), headers)

    def _object(self, place: Place) -> StoredObject:
        item = self._state.find_object(place.bucket, place.key)
        if item is None:
            raise Refused("NoSuchKey", "The specified key does not exist.")
        return item

    async def _get(self, call: _Call) -> web.StreamResponse:
        request, seen, headers = call.request, call.seen, call.headers
        item = self._object(call.place)
        first, last = _range(seen.headers.get("range"), item.size)
        whole = {
            **headers,
            "ETag": f'"{item.etag}"',
            "Last-Modified": formatdate(item.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "x-cos-hash-crc64ecma": str(item.crc64),
            "Content-Type": item.type,
        }
        if seen.headers.get("x-amz-checksum-mode") == "ENABLED" and "crc32" in item.checksums:
            whole["x-amz-checksum-crc32"] = item.checksums["crc32"]
            whole["x-amz-checksum-type"] = item.checksums.get("type", "COMPOSITE")
        partial = (first, last) != (0, item.size - 1)
        if partial:
            whole["Content-Range"] = f"bytes {first}-{last}/{item.size}"
        response = web.StreamResponse(status=206 if partial else 200, headers=whole)
        response.content_length = last - first + 1
        await response.prepare(request)
        if seen.method == "GET":
            async for piece in self._pieces(item, first, last + 1):
                await response.write(piece)
        await response.write_eof()
        return response

    async def _pieces(self, item: StoredObject, first: int, end: int):  # type: ignore[no-untyped-def]
        at = 0
        for name, size in item.files:
            start, stop = max(first - at, 0), min(end - at, size)
            at += size
            if start >= stop:
                continue
            with (self._state.files / name).open("rb") as file:
                file.seek(start)
                while start < stop and (piece := file.read(min(1 << 20, stop - start))):
                    start += len(piece)
                    yield piece


def _require_key(key: str) -> None:
    """A key is a name in a table and never one of a file: all that COS takes is fine."""
    if len(key.encode("utf-8", "replace")) > LONGEST_KEY:
        raise Refused("KeyTooLongError", f"A key has up to {LONGEST_KEY} bytes.")
    if "\0" in key:
        raise Refused("InvalidURI", "Couldn't parse the specified URI.")


def _public(seen: Seen) -> bool:
    return "public-read" in (seen.headers.get("x-cos-acl") or seen.headers.get("x-amz-acl") or "")


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First and last byte of a Range header (RFC 9110, one range). Raises Refused (InvalidRange)."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None or found.groups() == ("", ""):
        return 0, size - 1
    begin, end = found.groups()
    if not begin:
        return max(0, size - int(end)), size - 1
    if int(begin) >= size:
        raise Refused("InvalidRange", "The requested range is not satisfiable.")
    return int(begin), min(int(end) if end else size - 1, size - 1)


def _base64(crc32: int) -> str:
    return base64.b64encode(crc32.to_bytes(4, "big")).decode()


def _xml(body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(body=body, headers=headers, content_type="application/xml")
