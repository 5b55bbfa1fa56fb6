"""The XML of COS and S3: small answers out, small requests in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from xml.sax.saxutils import escape

from imgtool.cloud.sandbox.signatures.seen import Refused
from imgtool.cloud.sandbox.state import Part, StoredObject, Upload

_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PART = re.compile(r"<Part>(.*?)</Part>", re.DOTALL)
_TAG = r"<{0}>\s*(.*?)\s*</{0}>"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def element(name: str, *content: str, **fields: object) -> str:
    """An element with fields as children first; their values are escaped (a sign that XML can't
    hold is replaced), `content` is XML already.
    """
    inner = "".join(
        f"<{key}>{escape(_NO_XML.sub('�', str(value)))}</{key}>"
        for key, value in fields.items()
        if value is not None
    )
    return f"<{name}>{inner}{''.join(content)}</{name}>"


def document(root: str, *content: str, **fields: object) -> bytes:
    """A whole document."""
    text = element(root, *content, **fields).replace(f"<{root}>", f'<{root} xmlns="{NAMESPACE}">', 1)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def error(code: str, message: str, resource: str, request_id: str) -> bytes:
    """What both protocols answer when they refuse."""
    inner = {"Code": code, "Message": message, "Resource": resource or "/"}
    text = element("Error", **inner, RequestId=request_id, TraceId=request_id)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def parts(upload: Upload, shown: Iterable[Part], marker: int, most: int, truncated: bool) -> bytes:
    """The answer to ListParts."""
    listed = list(shown)
    return document(
        "ListPartsResult",
        *(
            element(
                "Part",
                PartNumber=part.number,
                LastModified=moment(part.modified),
                ETag=f'"{part.etag}"',
                Size=part.size,
                ChecksumCRC32=part.checksums.get("crc32") if upload.checksum else None,
            )
            for part in listed
        ),
        Bucket=upload.bucket,
        Key=upload.key,
        UploadId=upload.id,
        PartNumberMarker=marker,
        NextPartNumberMarker=listed[-1].number if listed else marker,
        MaxParts=most,
        IsTruncated=str(truncated).lower(),
        StorageClass="STANDARD",
    )


def uploads(bucket: str, found: Iterable[Upload]) -> bytes:
    """The answer to ListMultipartUploads."""
    return document(
        "ListMultipartUploadsResult",
        *(
            element(
                "Upload",
                Key=each.key,
                UploadId=each.id,
                Initiated=moment(each.created),
                StorageClass="STANDARD",
            )
            for each in found
        ),
        Bucket=bucket,
        KeyMarker="",
        UploadIdMarker="",
        NextKeyMarker="",
        NextUploadIdMarker="",
        MaxUploads=1000,
        IsTruncated="false",
    )


def listing(bucket: str, prefix: str, found: list[StoredObject]) -> bytes:
    """The answer to ListObjects, both versions, at once."""
    return document(
        "ListBucketResult",
        *(
            element(
                "Contents",
                Key=each.key,
                LastModified=moment(each.modified),
                ETag=f'"{each.etag}"',
                Size=each.size,
                StorageClass="STANDARD",
            )
            for each in found
        ),
        Name=bucket,
        Prefix=prefix,
        KeyCount=len(found),
        MaxKeys=1000,
        IsTruncated="false",
    )


def asked_parts(body: bytes) -> list[tuple[int, str]]:
    """(number, ETag) of the parts that CompleteMultipartUpload names. Raises Refused (MalformedXML)."""
    text = body.decode("utf-8", "replace")
    found: list[tuple[int, str]] = []
    for inner in _PART.findall(text):
        number = re.search(_TAG.format("PartNumber"), inner)
        etag = re.search(_TAG.format("ETag"), inner)
        if number is None or etag is None or not number[1].isdecimal():
            raise Refused("MalformedXML", "A Part needs a PartNumber and an ETag.")
        found.append((int(number[1]), etag[1].replace("&quot;", "").strip('"')))
    if not found:
        raise Refused("MalformedXML", "The XML you provided names no part.")
    return found
