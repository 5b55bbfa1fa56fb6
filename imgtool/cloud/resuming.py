"""What an earlier run of an upload has left in the storage, and which of it may be believed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable

from imgtool.cloud.crc64 import combined
from imgtool.cloud.failures import Refusal
from imgtool.cloud.journal import Record
from imgtool.cloud.parts import MIB, Part
from imgtool.cloud.retry import Patience, retried
from imgtool.cloud.store import Store, Stored
from imgtool.convert.crc64 import Crc64, crc64_function
from imgtool.errors import MachineLacks


def what_is_there(
    store: Store,
    upload_id: str,
    parts: list[Part],
    noted: Iterable[Record],
    *,
    descriptor: int,
    patience: Patience,
) -> list[tuple[Part, str, int, bool]] | None:
    """The parts of an upload that need not be sent: (part, ETag, CRC-64, whether the journal lacks it).

    A part counts when the storage lists it in its length, and either the journal noted it with the same ETag,
    or the ETag is the MD5 of these bytes of the file. None when the storage does not know the upload: it was
    completed just before a kill, or thrown away; the object itself will tell.
    """
    try:
        listed = retried(lambda: store.listed(upload_id), patience)
    except Refusal as refusal:
        if refusal.code != "NoSuchUpload":
            raise
        return None
    known = {int(record["number"]): record for record in noted}
    found: list[tuple[Part, str, int, bool]] = []
    for part in parts:
        there, ours = listed.get(part.number), known.get(part.number)
        if there is None or there.size != part.size:
            continue
        if ours is not None and ours["etag"] == there.etag:
            found.append((part, there.etag, int(ours["crc"]), False))
            continue
        md5, crc = digests_of(descriptor, part.offset, part.size)
        if md5 == there.etag:
            found.append((part, there.etag, crc, True))
    return found


def crc_of_same(
    found: Stored, descriptor: int, parts: list[Part], crc64: Crc64, told: Callable[[int], None]
) -> int | None:
    """The CRC-64 of a file where an object of its length holds the same bytes; None where it does not, or
    where that can't be told. told: of the bytes compared so far.

    Where the storage gives no CRC-64 the object's ETag is the digest: the MD5 of the whole, or, of a
    multipart upload, the MD5 of its parts' MD5s and their number (S3); `parts` are those that it would have
    had.
    """
    if found.crc64 is not None:
        size = parts[-1].offset + parts[-1].size
        crc = digests_of(descriptor, 0, size, crc64, told)[1]
        return crc if crc == found.crc64 else None
    md5, _, count = found.etag.partition("-")
    if len(md5) != 32 or count not in ("", str(len(parts))):
        return None
    whole, crcs = hashlib.md5(usedforsecurity=False), []
    if not count:
        last = parts[-1]
        parts = [Part(1, 0, last.offset + last.size)]
    for part in parts:
        digest, crc = digests_of(descriptor, part.offset, part.size)
        whole.update(bytes.fromhex(digest))
        crcs.append((crc, part.size))
        told(part.offset + part.size)
    return combined(crcs) if md5 == (whole.hexdigest() if count else digest) else None


def digests_of(
    descriptor: int,
    offset: int,
    size: int,
    crc64: Crc64 | None = None,
    told: Callable[[int], None] | None = None,
) -> tuple[str, int]:
    """MD5 (in hex; "" when only the CRC-64 is asked for, by giving its function) and CRC-64 of a stretch
    of a file.
    """
    function = crc64 or crc64_function()
    if function is None:
        raise MachineLacks("liblzma", "liblzma5")
    md5 = None if crc64 is not None else hashlib.md5(usedforsecurity=False)
    crc = done = 0
    while done < size and (piece := os.pread(descriptor, min(MIB, size - done), offset + done)):
        if md5 is not None:
            md5.update(piece)
        crc = function(piece, crc)
        done += len(piece)
        if told is not None:
            told(done)
    return "" if md5 is None else md5.hexdigest(), crc
