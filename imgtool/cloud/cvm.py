"""The CVM API, through its official SDK: the calls that images need, as plain values.

The SDK's `call_json` is used, not its models: a private deployment has parameters and actions that they lack
(PublicImage, ImportSnapshot) and answers with fields that they drop.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

from imgtool.cloud.credentials import Credentials
from imgtool.cloud.failures import CloudFailure, NotTheApi, Refusal, unreachable
from imgtool.cloud.retry import Patience, retried
from imgtool.cloud.settings import Settings
from imgtool.text import Text

VERSION = "2017-03-12"
_PAGE = 100
# What the SDK calls failures that are not the API's answers.
_NO_ANSWER = frozenset({"ClientNetworkError", "ServerNetworkError"})


@dataclass(frozen=True)
class CloudImage:
    """An image of the account. reason: why its import failed, where the deployment says so."""

    id: str
    name: str
    state: str
    description: str
    reason: str


@dataclass(frozen=True)
class Importable:
    """The systems that a deployment takes. versions: by OsType, empty where it does not list them."""

    linux: tuple[str, ...]
    windows: tuple[str, ...]
    versions: Mapping[str, tuple[str, ...]]


class Cvm:
    """Calls of one account in one region. All may raise Refusal and Unreachable."""

    def __init__(self, settings: Settings, keys: Credentials, patience: Patience | None = None) -> None:
        self.region = settings.require_region()
        http = HttpProfile(
            protocol=settings.scheme,
            endpoint=settings.cvm_endpoint or None,
            reqTimeout=60,
            # what requests trusts by itself, as with the storage; the SDK would take certifi's list alone
            certification=settings.ca_bundle
            or os.environ.get("REQUESTS_CA_BUNDLE")
            or os.environ.get("CURL_CA_BUNDLE"),
        )
        try:
            credential = Credential(keys.secret_id, keys.secret_key, keys.token or None)
        except TencentCloudSDKException as error:
            raise CloudFailure(
                Text(en=f"The keys are not usable: {error.message}.", zh=f"密钥不可用：{error.message}。")
            ) from error
        profile = ClientProfile("TC3-HMAC-SHA256", httpProfile=http)
        self._client = CommonClient("cvm", VERSION, credential, self.region, profile)
        # The SDK's own reading of NO_PROXY knows no ports and no domains; requests' is everybody's.
        self._client.request.conn.proxy = None
        self.host = settings.cvm_endpoint or "cvm.tencentcloudapi.com"
        self._patience = patience or Patience()

    def importable(self) -> Importable:
        """DescribeImportImageOs. The reference and the SDK write the lists' names differently."""
        answer = self.ask("DescribeImportImageOs")
        listed = answer.get("ImportImageOsListSupported") or {}
        versions = {
            str(each.get("OsName")): tuple(map(str, each.get("OsVersions") or ()))
            for each in answer.get("ImportImageOsVersionSet") or ()
        }
        return Importable(
            tuple(listed.get("linux") or listed.get("Linux") or ()),
            tuple(listed.get("windows") or listed.get("Windows") or ()),
            versions,
        )

    def quota(self) -> int:
        """DescribeImageQuota: how many images the account may have."""
        return int(self.ask("DescribeImageQuota")["ImageNumQuota"])

    def images(self) -> list[CloudImage]:
        """DescribeImages: the account's own images, all pages."""
        found: list[CloudImage] = []
        while True:
            answer = self.ask(
                "DescribeImages",
                Filters=[{"Name": "image-type", "Values": ["PRIVATE_IMAGE"]}],
                Offset=len(found),
                Limit=_PAGE,
            )
            page = [_image(each) for each in answer.get("ImageSet") or ()]
            found += page
            if not page or len(found) >= int(answer.get("TotalCount") or 0):
                return found

    def image(self, id_: str) -> CloudImage | None:
        """DescribeImages: one image; None when there is none of that ID."""
        try:
            answer = self.ask("DescribeImages", ImageIds=[id_])
        except Refusal as refusal:
            if refusal.code == "InvalidImageId.NotFound":
                return None
            raise
        return next((_image(each) for each in answer.get("ImageSet") or ()), None)

    def dry_run(self, action: str, parameters: Mapping[str, Any]) -> None:
        """Ask whether an action would succeed. Raises what it would be refused for."""
        try:
            self.ask(action, **{**parameters, "DryRun": True})
        except Refusal as refusal:
            if refusal.code != "DryRunOperation":
                raise

    def import_image(self, parameters: Mapping[str, Any]) -> str:
        """ImportImage: the image's ID. Asked once only; a lost answer is for the caller to find out about."""
        return self._named(self.ask_once("ImportImage", **parameters), "ImageId")

    def import_snapshot(self, parameters: Mapping[str, Any]) -> str:
        """ImportSnapshot: the task's ID. Asked once only."""
        return self._named(self.ask_once("ImportSnapshot", **parameters), "TaskId")

    def delete_image(self, id_: str) -> None:
        """DeleteImages."""
        self.ask("DeleteImages", ImageIds=[id_])

    def ask(self, action: str, **parameters: Any) -> dict[str, Any]:
        """A call that changes nothing, or may be made twice: retried where that may help."""
        return retried(lambda: self.ask_once(action, **parameters), self._patience)

    def ask_once(self, action: str, **parameters: Any) -> dict[str, Any]:
        """One call: the fields of its Response."""
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            answer = self._client.call_json(action, given)["Response"]
        except TencentCloudSDKException as error:
            code, words = str(error.code or ""), str(error.message or error)
            if code in _NO_ANSWER:
                raise unreachable("CVM", self.host, words) from error
            raise Refusal("CVM", code, words[:500], str(error.requestId or "")) from error
        except requests.RequestException as error:  # the SDK reads answers outside of what it watches
            raise unreachable("CVM", self.host, str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._not_the_api() from error
        if not isinstance(answer, dict):
            raise self._not_the_api()
        # The SDK overlooks an error where the answer's type is not spelt as it expects.
        refused = answer.get("Error")
        if isinstance(refused, dict):
            code, words = str(refused.get("Code") or ""), str(refused.get("Message") or "")
            raise Refusal("CVM", code, words[:500], str(answer.get("RequestId") or ""))
        return answer

    def _named(self, answer: Mapping[str, Any], field: str) -> str:
        """What an answer says that was begun. Raises NotTheApi where it does not."""
        if not answer.get(field):
            raise self._not_the_api()
        return str(answer[field])

    def _not_the_api(self) -> NotTheApi:
        return NotTheApi("CVM", self.host, "--cvm-endpoint")


def _image(record: Mapping[str, Any]) -> CloudImage:
    return CloudImage(
        id=str(record.get("ImageId") or ""),
        name=str(record.get("ImageName") or ""),
        state=str(record.get("ImageState") or ""),
        description=str(record.get("ImageDescription") or ""),
        reason=_reason(record),
    )


def _reason(record: Mapping[str, Any]) -> str:
    """Why an import failed: no documented field says it, some deployments have one of their own.

    Taken is a text that begins with one of the platform's codes (ref 01).
    """
    from imgtool.cloud.codes import codes

    for value in record.values():
        if isinstance(value, str) and value.partition(":")[0].strip() in codes("import"):
            return value
    return ""
