"""The official SDK's own calls, unmodified, against the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.cvm.v20170312 import models

from imgtool.cloud.sandbox.server import Sandbox
from tests.cloud.sdks import cos, cvm


def import_request(sandbox: Sandbox, **changes: Any) -> models.ImportImageRequest:
    request = models.ImportImageRequest()
    values = {
        "Architecture": "x86_64",
        "OsType": "Debian",
        "OsVersion": "12",
        "ImageUrl": f"http://{sandbox.bucket}.{sandbox.endpoint}/image.qcow2",
        "ImageName": "one",
        **changes,
    }
    for name, value in values.items():
        setattr(request, name, value)
    return request


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        call(*arguments)
    assert caught.value.requestId
    return str(caught.value.code)


@pytest.mark.parametrize("method", ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"])
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_every_way_of_signing_is_understood(sandbox: Sandbox, method: str, verb: str) -> None:
    client = cvm(sandbox, method, verb)
    assert client.DescribeImageQuota(models.DescribeImageQuotaRequest()).ImageNumQuota == 10
    supported = client.DescribeImportImageOs(models.DescribeImportImageOsRequest())
    assert "Debian" in supported.ImportImageOsListSupported.Linux
    request = models.DescribeImagesRequest()
    request.Filters = [models.Filter()]
    request.Filters[0].Name, request.Filters[0].Values = "image-type", ["PRIVATE_IMAGE"]
    assert client.DescribeImages(request).TotalCount == 0
    assert code_of(cvm(sandbox, method, verb, secret_key="x" * 32).DescribeImages, request) == (
        "AuthFailure.SignatureFailure"
    )


def test_who_asks_is_judged_as_documented(sandbox: Sandbox) -> None:
    request = models.DescribeImageQuotaRequest()
    stranger = cvm(sandbox, secret_id="AKIDsomebodyelse")
    assert code_of(stranger.DescribeImageQuota, request) == "AuthFailure.SecretIdNotFound"
    assert code_of(cvm(sandbox, secret_id="x").DescribeImageQuota, request) == "AuthFailure.InvalidSecretId"
    assert code_of(cvm(sandbox, token="old").DescribeImageQuota, request) == "AuthFailure.TokenFailure"
    assert code_of(cvm(sandbox, region="elsewhere").DescribeImageQuota, request) == "UnsupportedRegion"


@pytest.mark.parametrize(
    ("offset", "fine"), [("+299", True), ("-299", True), ("+360", False), ("-360", False)]
)
def test_a_clock_may_be_off_by_five_minutes(sandbox: Sandbox, offset: str, fine: bool) -> None:
    sandbox.faults.add(f"clock={offset}")
    request = models.DescribeImageQuotaRequest()
    if fine:
        assert cvm(sandbox).DescribeImageQuota(request).ImageNumQuota == 10
    else:
        assert code_of(cvm(sandbox).DescribeImageQuota, request) == "AuthFailure.SignatureExpire"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DryRun": True}, "DryRunOperation"),
        ({"OsType": "Plan 9"}, "InvalidImageOsType.Unsupported"),
        ({"OsVersion": "99"}, "InvalidImageOsVersion.Unsupported"),
        ({"ImageUrl": "nowhere"}, "InvalidParameter.InvalidParameterUrlError"),
        ({"ImageName": None}, "MissingParameter"),
        ({"ImageName": "n" * 61}, "InvalidParameterValue.TooLong"),
        ({"Architecture": "mips"}, "InvalidParameterValue"),
        ({"LicenseType": "x"}, "UnknownParameter"),
    ],
)
def test_import_parameters_are_judged_as_documented(
    sandbox: Sandbox, changes: dict[str, Any], code: str
) -> None:
    assert code_of(cvm(sandbox).ImportImage, import_request(sandbox, **changes)) == code


def test_a_name_is_taken_once_and_a_quota_filled_once(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "small", quota=2).running() as small:
        client = cvm(small)
        client.ImportImage(import_request(small))
        assert code_of(client.ImportImage, import_request(small)) == "InvalidImageName.Duplicate"
        client.ImportImage(import_request(small, ImageName="two"))
        assert (
            code_of(client.ImportImage, import_request(small, ImageName="three")) == "ImageQuotaLimitExceeded"
        )


def test_ten_calls_a_second_are_served_and_no_more(sandbox: Sandbox) -> None:
    client = cvm(sandbox)
    codes = set()
    for _ in range(40):
        try:
            client.DescribeImageQuota(models.DescribeImageQuotaRequest())
        except TencentCloudSDKException as error:
            codes.add(error.code)
    assert codes in ({"RequestLimitExceeded"}, set())  # a machine so slow that it makes ten a second or fewer


def test_actions_and_versions_that_do_not_exist_are_named(sandbox: Sandbox) -> None:
    client = cvm(sandbox)
    assert code_of(client.call_json, "MakeCoffee", {}) == "InvalidAction"
    client._apiVersion = "1999-01-01"
    assert code_of(client.call_json, "DescribeImages", {}) == "NoSuchVersion"


def test_images_that_are_not_there_can_not_be_deleted(sandbox: Sandbox) -> None:
    request = models.DeleteImagesRequest()
    request.ImageIds = ["img-abcdefgh"]
    assert code_of(cvm(sandbox).DeleteImages, request) == "InvalidImageId.NotFound"
    request.ImageIds = ["ins-abcdefgh"]
    assert code_of(cvm(sandbox).DeleteImages, request) == "InvalidImageId.Malformed"


def test_a_snapshot_is_imported_by_the_action_that_the_sdk_lacks(sandbox: Sandbox) -> None:
    client = cvm(sandbox)
    given = {
        "SnapshotName": "data",
        "SnapshotUrl": f"http://{sandbox.bucket}.{sandbox.endpoint}/disk.qcow2",
        "SnapshotSize": 1,
    }
    assert code_of(client.call_json, "ImportSnapshot", {**given, "DryRun": True}) == "DryRunOperation"
    assert client.call_json("ImportSnapshot", given)["Response"]["TaskId"]


def test_what_the_sandbox_holds_survives_a_restart(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "lasting"
    with Sandbox(folder).running() as first:
        cos(first).put_object(first.bucket, b"content", "key")
        cvm(first).ImportImage(import_request(first))
    with Sandbox(folder).running() as second:
        assert cos(second).head_object(second.bucket, "key")["Content-Length"] == "7"
        assert cvm(second).DescribeImages(models.DescribeImagesRequest()).TotalCount == 1
