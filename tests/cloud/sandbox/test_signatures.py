"""The signatures against vectors that others have published."""

from __future__ import annotations

from imgtool.cloud.sandbox.signatures import cos, tc
from imgtool.cloud.sandbox.signatures.seen import Seen

KEY = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"


def test_the_hash_of_the_documented_canonical_request_gives_the_documented_signature() -> None:
    signature = tc.sign_hash_v3(
        KEY,
        "1539084154",
        "2018-10-09/cvm/tc3_request",
        "91c9c192c14460df6c1ffc69e34e6c5e90708de2a6d282cccf957dbf1aa7f3a7",
    )
    assert signature == "5da7a33f6993f0614b047e5df4582db9e9bf4672ba50567dba16c6ccf174c474"


def test_v1_takes_sha1_unless_told_hmacsha256() -> None:
    text = "GETcvm.example.com/?Action=DescribeInstances&Nonce=11886"
    assert tc.sign_v1(KEY, text, "HmacSHA1") == tc.sign_v1(KEY, text, "") == tc.sign_v1(KEY, text, "nonsense")
    assert tc.sign_v1(KEY, text, "HmacSHA256") != tc.sign_v1(KEY, text)


def test_the_cos_documentation_s_upload_example_has_its_signature() -> None:
    # https://cloud.tencent.com/document/product/436/7778, "上传对象", with the keys of that page
    fields = {
        "q-sign-time": "1557989151;1557996351",
        "q-key-time": "1557989151;1557996351",
        "q-header-list": "content-length;content-md5;content-type;date;host;x-cos-acl;x-cos-grant-read",
        "q-url-param-list": "",
    }
    headers = {
        "date": "Thu, 16 May 2019 06:45:51 GMT",
        "content-type": "text/plain",
        "content-length": "13",
        "content-md5": "mQ/fVh815F3k6TAUm8m0eg==",
        "x-cos-acl": "private",
        "x-cos-grant-read": 'uin="100000000011"',
    }
    host = "examplebucket-1250000000.cos.ap-beijing.myqcloud.com"
    path = "/exampleobject(%E8%85%BE%E8%AE%AF%E4%BA%91)"
    seen = Seen("PUT", path, "", (), headers)
    key = "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz"
    assert cos.signature(seen, fields, key, host) == "3b8851a11a569213c17ba8fa7dcf2abec6935172"
