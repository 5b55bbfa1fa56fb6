"""S3 and what speaks like it, through boto3; its own chain finds the keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

import boto3
import botocore.config
import botocore.exceptions

from imgtool.cloud.address import Address
from imgtool.cloud.failures import CloudFailure, Refusal, unreachable
from imgtool.cloud.parts import PartBody
from imgtool.cloud.settings import Settings
from imgtool.cloud.store import Listed, PartDamaged, Stored, link_lasts
from imgtool.text import Text

Answer = TypeVar("Answer")


class S3Store:
    """See imgtool.cloud.store.Store."""

    service = "S3"
    least_part = 5 << 20

    def __init__(self, address: Address, settings: Settings) -> None:
        self.address = address
        config = botocore.config.Config(
            retries={"total_max_attempts": 1}, max_pool_connections=16, signature_version="s3v4"
        )
        # boto3's own region (environment, ~/.aws/config) stands where it has one.
        own = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        try:
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=settings.s3_endpoint or None,
                region_name=own or settings.region or None,
                verify=settings.ca_bundle or None,
                config=config,
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise CloudFailure(
                Text(
                    en=f"The S3 endpoint or region is not usable: {error}.",
                    zh=f"S3 接入点或地域不可用：{error}。",
                )
            ) from error
        self.host = str(self._client.meta.endpoint_url)
        self._place = {"Bucket": address.bucket, "Key": address.key}

    def check_bucket(self) -> None:
        self._ask(lambda: self._client.head_bucket(Bucket=self.address.bucket), missing="NoSuchBucket")

    def begin(self, public: bool) -> str:
        more = {"ACL": "public-read"} if public else {}
        return str(self._ask(lambda: self._client.create_multipart_upload(**self._place, **more))["UploadId"])

    def send(self, upload_id: str, body: PartBody) -> str:
        content = body.all()  # boto3 reads a body several times
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        sent = self._ask(
            lambda: self._client.upload_part(
                **self._place, UploadId=upload_id, PartNumber=body.part.number, Body=content
            )
        )
        etag = str(sent["ETag"]).strip('"')
        if (
            len(etag) == 32
            and "SSEKMSKeyId" not in sent
            and "SSECustomerAlgorithm" not in sent
            and etag != md5
        ):
            raise PartDamaged
        return etag

    def listed(self, upload_id: str) -> dict[int, Listed]:
        found: dict[int, Listed] = {}

        def read() -> None:
            pages = self._client.get_paginator("list_parts").paginate(**self._place, UploadId=upload_id)
            for page in pages:
                for part in page.get("Parts", ()):
                    found[part["PartNumber"]] = Listed(part["Size"], part["ETag"].strip('"'))

        self._ask(read)
        return found

    def complete(self, upload_id: str, parts: list[tuple[int, str]]) -> str:
        asked = {"Parts": [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in parts]}
        made = self._ask(
            lambda: self._client.complete_multipart_upload(
                **self._place, UploadId=upload_id, MultipartUpload=asked
            )
        )
        return str(made.get("ETag") or "").strip('"')

    def abort(self, upload_id: str) -> None:
        self._ask(lambda: self._client.abort_multipart_upload(**self._place, UploadId=upload_id))

    def stored(self) -> Stored | None:
        try:
            head = self._ask(lambda: self._client.head_object(**self._place))
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise
        return Stored(int(head["ContentLength"]), str(head["ETag"]).strip('"'), None)

    def matches(self, found: Stored, crc64: int, etags: list[str]) -> bool | None:
        """S3 makes a multipart object's ETag of the MD5s of its parts, each of which was verified when
        sent. None: encrypted with a key service, where ETags are no digests.
        """
        if any(len(etag) != 32 for etag in etags):
            return None
        whole = hashlib.md5(b"".join(map(bytes.fromhex, etags)), usedforsecurity=False).hexdigest()
        return found.etag == f"{whole}-{len(etags)}"

    def publish(self) -> None:
        self._ask(lambda: self._client.put_object_acl(**self._place, ACL="public-read"))

    def link(self, public: bool) -> str:
        if public:
            return f"{self.host.rstrip('/')}/{self.address.bucket}/{self.address.key}"
        return str(
            self._client.generate_presigned_url("get_object", Params=self._place, ExpiresIn=link_lasts())
        )

    def delete(self) -> None:
        self._ask(lambda: self._client.delete_object(**self._place))

    def _ask(self, call: Callable[[], Answer], missing: str = "NoSuchKey") -> Answer:
        try:
            return call()
        except botocore.exceptions.ClientError as error:
            said: dict[str, Any] = error.response.get("Error", {})
            meta: dict[str, Any] = error.response.get("ResponseMetadata", {})
            code = str(said.get("Code", ""))
            code = {"403": "AccessDenied", "404": missing, "301": "PermanentRedirect"}.get(code, code)
            raise Refusal(
                "S3",
                code,
                str(said.get("Message", ""))[:500],
                str(meta.get("RequestId", "")),
                int(meta.get("HTTPStatusCode", 0)),
            ) from error
        except botocore.exceptions.NoCredentialsError as error:
            raise CloudFailure(
                Text(
                    en="boto3 finds no keys. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile "
                    "in "
                    "~/.aws/credentials.",
                    zh="boto3 未找到密钥。请设置 AWS_ACCESS_KEY_ID 与 AWS_SECRET_ACCESS_KEY，或在 "
                    "~/.aws/credentials 中配置。",
                )
            ) from error
        except botocore.exceptions.BotoCoreError as error:
            raise unreachable("S3", self.host, str(error)) from error
