"""The object storage SDKs' own calls, unmodified, against the sandbox."""

from __future__ import annotations

import random
from pathlib import Path

import boto3.s3.transfer
import botocore.exceptions
import pytest
import requests
from qcloud_cos.cos_exception import CosClientError, CosServiceError

from imgtool.cloud.sandbox.server import Sandbox
from imgtool.convert.crc64 import crc64_function
from tests.cloud.sdks import cos, s3

MIB = 1 << 20
KEY = "images/a b/镜像.qcow2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(random.Random(7).randbytes(5 * MIB + 12345))
    return path


def crc64(data: bytes) -> str:
    function = crc64_function()
    assert function is not None
    return str(function(data, 0))


def test_the_cos_sdk_s_uploader_and_downloader_work(sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    client = cos(sandbox)
    client.upload_file(sandbox.bucket, KEY, str(file), PartSize=1, MAXThread=3)
    head = client.head_object(sandbox.bucket, KEY)
    assert head["x-cos-hash-crc64ecma"] == crc64(file.read_bytes())
    client.download_file(sandbox.bucket, KEY, str(tmp_path / "back"), EnableCRC=True)
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    part = client.get_object(sandbox.bucket, KEY, Range="bytes=1048570-1048585")
    assert part["Body"].get_raw_stream().read() == file.read_bytes()[1048570:1048586]
    assert client.list_objects(sandbox.bucket)["Contents"][0]["Key"] == KEY
    client.delete_object(sandbox.bucket, KEY)
    assert not client.object_exists(sandbox.bucket, KEY)


def test_a_multipart_upload_is_listed_completed_and_aborted(sandbox: Sandbox) -> None:
    client, bucket = cos(sandbox), sandbox.bucket
    first, second = (client.create_multipart_upload(bucket, KEY)["UploadId"] for _ in range(2))
    parts = []
    for number in (1, 2):
        answer = client.upload_part(bucket, KEY, bytes([number]) * MIB, number, first, EnableMD5=True)
        assert answer["x-cos-hash-crc64ecma"] == crc64(bytes([number]) * MIB)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    listed = client.list_parts(bucket, KEY, first, MaxParts=1)
    assert (listed["IsTruncated"], listed["NextPartNumberMarker"]) == ("true", "1")
    assert listed["Part"][0]["Size"] == str(MIB)
    assert len(client.list_multipart_uploads(bucket, Prefix="images/")["Upload"]) == 2
    client.abort_multipart_upload(bucket, KEY, second)
    client.complete_multipart_upload(bucket, KEY, first, {"Part": parts})
    assert "Upload" not in client.list_multipart_uploads(bucket)
    with pytest.raises(CosServiceError) as caught:
        client.list_parts(bucket, KEY, first)
    assert caught.value.get_error_code() == "NoSuchUpload"


@pytest.mark.parametrize(
    ("numbers", "size", "code"),
    [((1, 3), MIB, "InvalidPart"), ((2, 1), MIB, "InvalidPartOrder"), ((1, 2), 1000, "EntityTooSmall")],
)
def test_parts_that_do_not_fit_make_no_object(
    sandbox: Sandbox, numbers: tuple[int, int], size: int, code: str
) -> None:
    client, bucket = cos(sandbox), sandbox.bucket
    upload = client.create_multipart_upload(bucket, KEY)["UploadId"]
    tags = {n: client.upload_part(bucket, KEY, bytes(size), n, upload)["ETag"] for n in (1, 2)}
    parts = [{"PartNumber": n, "ETag": tags.get(n, tags[1])} for n in numbers]
    with pytest.raises(CosServiceError) as caught:
        client.complete_multipart_upload(bucket, KEY, upload, {"Part": parts})
    assert caught.value.get_error_code() == code


def test_a_signed_link_is_good_for_one_fetch(sandbox: Sandbox) -> None:
    client = cos(sandbox)
    client.put_object(sandbox.bucket, b"content", KEY)
    link = client.get_presigned_url(sandbox.bucket, KEY, "GET", SignHost=False)
    host = {"Host": f"{sandbox.bucket}.{sandbox.endpoint}"}
    assert requests.get(link, headers=host, timeout=10).content == b"content"
    again = requests.get(link, headers=host, timeout=10)
    assert (again.status_code, "AccessDenied" in again.text) == (403, True)


def test_an_object_is_private_until_it_is_made_public(sandbox: Sandbox) -> None:
    client = cos(sandbox)
    client.put_object(sandbox.bucket, b"content", KEY)
    link = f"http://127.0.0.1:{sandbox.port}/{sandbox.bucket}/{KEY}"
    assert requests.get(link, timeout=10).status_code == 403
    client.put_object_acl(sandbox.bucket, KEY, ACL="public-read")
    assert requests.get(link, timeout=10).content == b"content"


def test_refusals_are_those_of_cos(sandbox: Sandbox) -> None:
    def code(call: str, key: str | None = None, bucket: str = sandbox.bucket, **more: str) -> str:
        with pytest.raises(CosServiceError) as caught:
            getattr(cos(sandbox, key, **more), call)(bucket, "key")
        return str(caught.value.get_error_code())

    assert code("get_object") == "NoSuchKey"
    assert code("get_object", bucket="other-1250000000") == "NoSuchBucket"
    assert code("get_object", Endpoint="cos.other-region.sandbox.localhost") == "NoSuchBucket"
    assert code("get_object", "wrong" * 6) == "SignatureDoesNotMatch"
    sandbox.faults.add("clock=+36000")
    assert code("get_object") == "AccessDenied"
    sandbox.faults.clear()
    sandbox.faults.add("clock=-360")
    assert code("get_object") == "RequestTimeTooSkewed"


def test_boto3_s_uploader_and_downloader_work(sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    client = s3(sandbox)
    small = boto3.s3.transfer.TransferConfig(multipart_threshold=MIB, multipart_chunksize=5 * MIB)
    client.upload_file(str(file), sandbox.bucket, KEY, Config=small)
    head = client.head_object(Bucket=sandbox.bucket, Key=KEY, ChecksumMode="ENABLED")
    assert (head["ChecksumType"], head["ContentLength"]) == ("COMPOSITE", file.stat().st_size)
    client.download_file(sandbox.bucket, KEY, str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    link = client.generate_presigned_url("get_object", {"Bucket": sandbox.bucket, "Key": KEY})
    assert requests.get(link, timeout=10).content == file.read_bytes()
    assert requests.get(link, timeout=10).status_code == 403
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        s3(sandbox, "wrong").put_object(Bucket=sandbox.bucket, Key="x", Body=b"x")


def test_faults_come_when_asked_for(sandbox: Sandbox) -> None:
    client, bucket = cos(sandbox), sandbox.bucket
    upload = client.create_multipart_upload(bucket, KEY)["UploadId"]

    def part(number: int) -> dict[str, str]:
        answer: dict[str, str] = client.upload_part(bucket, KEY, bytes(MIB), number, upload)
        return answer

    for text in ("drop@1", "503@2", "drop-after@3", "wrong-crc@4"):
        sandbox.faults.add(text)
    for number, kind in ((1, CosClientError), (2, CosServiceError), (3, CosClientError)):
        with pytest.raises(kind):
            part(number)
    assert part(4)["x-cos-hash-crc64ecma"] != crc64(bytes(MIB)) == part(4)["x-cos-hash-crc64ecma"]
    listed = client.list_parts(bucket, KEY, upload)["Part"]
    assert [each["PartNumber"] for each in listed] == ["3", "4"]
