"""What an upload needs of an object storage; `cos` and `s3` are the two there are."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from imgtool.cloud.address import Address
    from imgtool.cloud.credentials import Credentials
    from imgtool.cloud.parts import PartBody
    from imgtool.cloud.settings import Settings

LINK_LASTS = 24 * 3600  # seconds that a signed link is good for, at least


def link_lasts() -> int:
    """Seconds that a new signed link is good for, another number each time.

    Two links signed within one second would be the same link, and each can be fetched only once (ref 01).
    """
    return LINK_LASTS + secrets.randbelow(3600)


@dataclass(frozen=True)
class Listed:
    """A part that the storage says it has. etag: the MD5 of its content."""

    size: int
    etag: str


@dataclass(frozen=True)
class Stored:
    """An object that is there. crc64: None where the storage does not say."""

    size: int
    etag: str
    crc64: int | None


class PartDamaged(Exception):
    """What the storage received of a part is not what was sent."""


class Store(Protocol):
    """One object's place in a storage. Every call may raise Refusal and Unreachable; for several threads.

    service: its name; host: where it is; least_part: bytes.
    """

    service: str
    host: str
    least_part: int
    address: Address

    def check_bucket(self) -> None:
        """Raise unless the bucket is there and these keys may look."""

    def begin(self, public: bool) -> str:
        """Begin a multipart upload: its id."""

    def send(self, upload_id: str, body: PartBody) -> str:
        """Send a part: its ETag. Raises PartDamaged."""

    def listed(self, upload_id: str) -> dict[int, Listed]:
        """The parts that are there, by number."""

    def complete(self, upload_id: str, parts: list[tuple[int, str]]) -> str:
        """Make the object of parts, given as (number, ETag) in order: the object's ETag, "" where the storage
        does not say.
        """

    def abort(self, upload_id: str) -> None:
        """Throw a multipart upload away."""

    def stored(self) -> Stored | None:
        """The object, if it is there."""

    def matches(self, found: Stored, crc64: int, etags: list[str]) -> bool | None:
        """Whether an object is what these parts make; None where the storage gives no digest."""

    def publish(self) -> None:
        """Let everybody read the object."""

    def link(self, public: bool) -> str:
        """A link that the platform can fetch; a signed one unless `public`."""

    def delete(self) -> None:
        """Remove the object."""


def store_for(place: Address, settings: Settings, keys: Credentials | None = None) -> Store:
    """The storage of an address. keys: None to look for them. Raises ExtraMissing, CloudFailure,
    UsageError.
    """
    from imgtool.extras import require

    if place.scheme == "s3":
        require("boto3", "s3")
        from imgtool.cloud.s3 import S3Store

        return S3Store(place, settings)
    require("qcloud_cos", "cloud")
    require("tencentcloud", "cloud")
    from imgtool.cloud.cos import CosStore
    from imgtool.cloud.credentials import credentials

    return CosStore(place, settings, keys or credentials())
