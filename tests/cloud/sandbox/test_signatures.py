"""The signatures against vectors that others have published."""

from __future__ import annotations

import calendar
import time

import pytest

from imgtool.cloud.sandbox.signatures import aws, cos, tc
from imgtool.cloud.sandbox.signatures.seen import Keys, Refused, Seen

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


MOMENT = "20261125T000000Z"
KEYS = Keys("AKIDEXAMPLE", "secret")


def link(scope: str = "20261125/here/s3/aws4_request", **changed: str) -> Seen:
    """A GET whose signature holds for its own scope and its own signed headers."""
    fields = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"AKIDEXAMPLE/{scope}",
        "X-Amz-Date": MOMENT,
        "X-Amz-Expires": "60",
        "X-Amz-SignedHeaders": "host",
    } | {f"X-Amz-{name}": value for name, value in changed.items()}
    seen = Seen("GET", "/bucket/key", "", tuple(fields.items()), {"host": "127.0.0.1"})
    names = fields["X-Amz-SignedHeaders"].split(";")
    given = aws._signature(seen, KEYS.secret_key, names, (MOMENT, scope), "UNSIGNED-PAYLOAD")
    return Seen("GET", "/bucket/key", "", (*fields.items(), ("X-Amz-Signature", given)), seen.headers)


def verified(seen: Seen) -> str:
    """The code of the refusal, "" where the signature is taken."""
    try:
        aws.verify(seen, KEYS, calendar.timegm(time.strptime(MOMENT, "%Y%m%dT%H%M%SZ")) + 1)
    except Refused as refused:
        return refused.code
    return ""


def test_an_s3_link_is_taken_for_its_own_day_and_service() -> None:
    assert verified(link()) == ""


@pytest.mark.parametrize("scope", ["20261124/here/s3/aws4_request", "20261125/here/ec2/aws4_request", "x"])
def test_an_s3_signature_of_another_scope_is_refused(scope: str) -> None:
    assert verified(link(scope)) == "AuthorizationHeaderMalformed"


def test_an_s3_signature_that_leaves_the_host_out_is_refused() -> None:
    assert verified(link(SignedHeaders="range")) == "AuthorizationHeaderMalformed"


@pytest.mark.parametrize("lifetime", ["abc", "9" * 400, "-1", "\u0661"])
def test_a_lifetime_that_is_no_number_is_refused(lifetime: str) -> None:
    assert verified(link(Expires=lifetime)) == "InvalidArgument"


@pytest.mark.parametrize("timestamp", ["", "soon", "9" * 400])
def test_a_timestamp_that_is_no_time_has_expired(timestamp: str) -> None:
    with pytest.raises(Refused) as refused:
        tc._require_time(timestamp, 1539084154)
    assert refused.value.code == "AuthFailure.SignatureExpire"
