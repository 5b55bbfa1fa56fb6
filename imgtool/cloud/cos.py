"""COS, through its official SDK."""

from __future__ import annotations

import logging
import xml.etree.ElementTree
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from qcloud_cos import CosConfig, CosS3Client
from qcloud_cos.cos_exception import CosClientError, CosServiceError

from imgtool.cloud.address import Address
from imgtool.cloud.credentials import Credentials
from imgtool.cloud.failures import CloudFailure, NotTheApi, Refusal, unreachable
from imgtool.cloud.parts import MIN_PART, PartBody, Stopped
from imgtool.cloud.settings import Settings
from imgtool.cloud.store import Listed, PartDamaged, Stored, link_lasts
from imgtool.text import Text

Answer = TypeVar("Answer")
_CRC = "x-cos-hash-crc64ecma"

# The SDK logs what it signs at DEBUG and whole answers at ERROR; neither is for a person or a log file.
logging.getLogger("qcloud_cos").addHandler(logging.NullHandler())
logging.getLogger("qcloud_cos").propagate = False


class CosStore:
    """See imgtool.cloud.store.Store."""

    service = "COS"
    least_part = MIN_PART

    def __init__(self, address: Address, settings: Settings, keys: Credentials) -> None:
        self.address = address
        given: dict[str, Any] = {
            "SecretId": keys.secret_id,
            "SecretKey": keys.secret_key,
            "Token": keys.token or None,
            "Scheme": settings.scheme,
        }
        if settings.cos_endpoint:
            given["Endpoint"] = settings.cos_endpoint
        else:
            given["Region"] = settings.require_region()
        if settings.ca_bundle:
            given["VerifySSL"] = settings.ca_bundle
        try:
            public = CosConfig(**given)
            if settings.cos_connect:
                host, _, port = settings.cos_connect.rpartition(":")
                given |= {"IP": host, "Port": int(port)} if host else {"IP": port}
            # Retries are ours: the SDK's would repeat a part's body without telling.
            self._client = CosS3Client(CosConfig(**given), retry=0)
            self._signer = CosS3Client(
                public, retry=0
            )  # for links: the host name is the one the platform uses
        except (CosClientError, ValueError) as error:
            raise CloudFailure(
                Text(
                    en=f"The COS endpoint or region is not usable: {error}.",
                    zh=f"COS 接入点或地域不可用：{error}。",
                )
            ) from error
        # A link signed with temporary keys holds their token, or nobody can fetch it.
        self._link_parameters = {"x-cos-security-token": keys.token} if keys.token else {}
        self.host = str(public.get_host(Bucket=address.bucket))

    def check_bucket(self) -> None:
        try:
            self._ask(lambda: self._client.head_bucket(self.address.bucket), missing="NoSuchBucket")
        except Refusal as refusal:
            if refusal.status == 403:  # an answer to HEAD does not say why
                self._ask(lambda: self._client.list_objects(self.address.bucket, MaxKeys=1))
            raise

    def begin(self, public: bool) -> str:
        more = {"ACL": "public-read"} if public else {}
        return self._ask(
            lambda: str(
                self._client.create_multipart_upload(self.address.bucket, self.address.key, **more)[
                    "UploadId"
                ]
            )
        )

    def send(self, upload_id: str, body: PartBody) -> str:
        number = body.part.number
        sent = self._ask(
            lambda: self._client.upload_part(self.address.bucket, self.address.key, body, number, upload_id)
        )
        answer = _lower(sent)
        if answer.get(_CRC) is not None and answer[_CRC] != str(body.crc64):
            raise PartDamaged
        if not answer.get("etag"):
            raise self._not_cos()
        return str(answer["etag"]).strip('"')

    def listed(self, upload_id: str) -> dict[int, Listed]:
        found: dict[int, Listed] = {}
        marker = 0
        while True:
            at = marker
            answer = self._ask(
                lambda: self._client.list_parts(
                    self.address.bucket,
                    self.address.key,
                    upload_id,
                    PartNumberMarker=at,  # noqa: B023
                )
            )
            for part in answer.get("Part", ()):
                found[int(part["PartNumber"])] = Listed(int(part["Size"]), str(part["ETag"]).strip('"'))
            marker = int(answer.get("NextPartNumberMarker") or 0)
            if answer.get("IsTruncated") != "true" or marker <= at:
                return found

    def complete(self, upload_id: str, parts: list[tuple[int, str]]) -> str:
        asked = {"Part": [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in parts]}
        made = self._ask(
            lambda: self._client.complete_multipart_upload(
                self.address.bucket, self.address.key, upload_id, asked
            )
        )
        return str(made.get("ETag") or "").strip('"')

    def abort(self, upload_id: str) -> None:
        self._ask(
            lambda: self._client.abort_multipart_upload(self.address.bucket, self.address.key, upload_id)
        )

    def stored(self) -> Stored | None:
        try:
            head = _lower(self._ask(lambda: self._client.head_object(self.address.bucket, self.address.key)))
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            if refusal.status == 403:  # an answer to HEAD does not say why
                bucket, key = self.address.bucket, self.address.key
                self._ask(lambda: self._client.get_object(bucket, key, Range="bytes=0-0"))
            raise
        crc, length = str(head.get(_CRC, "")), str(head.get("content-length", ""))
        if not length.isdecimal():
            raise self._not_cos()
        return Stored(
            int(length),
            str(head.get("etag", "")).strip('"'),
            int(crc) if crc.isdecimal() else None,
        )

    def matches(self, found: Stored, crc64: int, etags: list[str]) -> bool | None:
        return found.crc64 == crc64

    def publish(self) -> None:
        self._ask(
            lambda: self._client.put_object_acl(self.address.bucket, self.address.key, ACL="public-read")
        )

    def link(self, public: bool) -> str:
        bucket, key = self.address.bucket, self.address.key
        if public:
            return str(self._signer.get_object_url(bucket, key))
        signed = self._signer.get_presigned_url(
            bucket, key, "GET", Expired=link_lasts(), Params=self._link_parameters
        )
        return str(signed)

    def delete(self) -> None:
        self._ask(lambda: self._client.delete_object(self.address.bucket, self.address.key))

    def _ask(self, call: Callable[[], Answer], missing: str = "NoSuchResource") -> Answer:
        try:
            return call()
        except CosServiceError as error:
            raise _refusal(error, missing) from error
        except CosClientError as error:
            if isinstance(error.__context__, Stopped):
                raise Stopped from error
            if isinstance(error.__context__, OSError) and type(error.__context__) is OSError:
                raise error.__context__ from None
            raise unreachable("COS", self.host, str(error)) from error
        except (xml.etree.ElementTree.ParseError, SyntaxError, NameError, LookupError, TypeError) as error:
            raise self._not_cos() from error  # the SDK takes whatever comes for the storage's XML

    def _not_cos(self) -> NotTheApi:
        return NotTheApi("COS", self.host, "--cos-endpoint")


def _refusal(error: CosServiceError, missing: str) -> Refusal:
    """What COS refused. HEAD has no body that could hold the code."""
    status = int(error.get_status_code())
    content = error.get_digest_msg()
    said: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    code = str(
        said.get("code")
        or {403: "AccessDenied", 404: missing, 503: "ServiceUnavailable"}.get(status, f"HTTP {status}")
    )
    if code == "NoSuchResource":
        code = missing
    request_id = str(said.get("requestid") or said.get("x-cos-request-id") or "")
    return Refusal("COS", code, str(said.get("message") or "")[:500], request_id, status)


def _lower(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in headers.items()}
