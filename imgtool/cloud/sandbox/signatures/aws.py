"""AWS Signature Version 4, in the Authorization header or in the query of a signed link.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from urllib.parse import quote, unquote

from imgtool.cloud.sandbox.signatures.seen import Keys, Refused, Seen

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)
_SKEW = 15 * 60  # seconds
_SCOPE = re.compile(r"[0-9]{8}/[a-z0-9-]+/s3/aws4_request")


@dataclass(frozen=True)
class Signed:
    """A signature that holds. payload: what it says of the body (a SHA-256, or a word for how it comes)."""

    link: str
    payload: str


def is_signed(seen: Seen) -> bool:
    """Whether a request bears this kind of signature."""
    return seen.headers.get("authorization", "").startswith("AWS4-") or bool(
        seen.parameter("X-Amz-Algorithm")
    )


def verify(seen: Seen, keys: Keys, now: float) -> Signed:
    """Raises Refused: AccessDenied, AuthorizationHeaderMalformed, InvalidAccessKeyId, InvalidArgument,
    RequestTimeTooSkewed, SignatureDoesNotMatch."""
    header = _HEADER.fullmatch(seen.headers.get("authorization", ""))
    is_link = header is None
    if header is not None:
        credential, names, given = header.groups()
        moment = seen.headers.get("x-amz-date", "")
        payload = seen.headers.get("x-amz-content-sha256", "")
    else:
        credential = seen.parameter("X-Amz-Credential") or ""
        names = seen.parameter("X-Amz-SignedHeaders") or ""
        given = seen.parameter("X-Amz-Signature") or ""
        moment = seen.parameter("X-Amz-Date") or ""
        payload = "UNSIGNED-PAYLOAD"
    identity, _, scope = credential.partition("/")
    if identity != keys.secret_id:
        raise Refused(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
        )
    try:
        at = calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Refused("AccessDenied", "The request's date is malformed.") from None
    if not _SCOPE.fullmatch(scope) or not scope.startswith(moment[:8]) or "host" not in names.split(";"):
        raise Refused(
            "AuthorizationHeaderMalformed", "The credential's scope or the signed headers are wrong."
        )
    lifetime = seen.number("X-Amz-Expires", 0) if is_link else _SKEW
    if is_link and now > at + lifetime:
        raise Refused("AccessDenied", "Request has expired")
    if abs(now - at) > max(_SKEW, lifetime):
        raise Refused(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )
    token = seen.headers.get("x-amz-security-token") or seen.parameter("X-Amz-Security-Token") or ""
    if keys.token and not hmac.compare_digest(token.encode(), keys.token.encode()):
        raise Refused("InvalidToken", "The provided token is malformed or otherwise invalid.")
    expected = _signature(seen, keys.secret_key, names.split(";"), (moment, scope), payload)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise Refused(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )
    return Signed(expected if is_link else "", payload)


def _signature(seen: Seen, secret_key: str, names: list[str], when: tuple[str, str], payload: str) -> str:
    moment, scope = when
    query = sorted(
        (quote(key, "-_.~"), quote(value, "-_.~")) for key, value in seen.query if key != "X-Amz-Signature"
    )
    headers = "".join(f"{name}:{' '.join(seen.headers.get(name, '').split())}\n" for name in names)
    canonical = "\n".join(
        (
            seen.method,
            quote(unquote(seen.path), "/-_.~"),
            "&".join(f"{key}={value}" for key, value in query),
            headers,
            ";".join(names),
            payload,
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = ("AWS4" + secret_key).encode()
    for word in scope.split("/"):  # date, region, service, aws4_request
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
