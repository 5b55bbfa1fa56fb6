"""COS: `q-sign-algorithm=sha1`, in the Authorization header or in the query of a signed link.

https://cloud.tencent.com/document/product/436/7778 (request signature).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from imgtool.cloud.sandbox.signatures.seen import Keys, Refused, Seen

_SAFE = "-_.~"


@dataclass(frozen=True)
class Signed:
    """A signature that holds. link: its signature when it came in the query (a signed link), else ""."""

    link: str


def is_signed(seen: Seen) -> bool:
    """Whether a request bears this kind of signature."""
    return seen.headers.get("authorization", "").startswith("q-sign-algorithm=") or bool(
        seen.parameter("q-sign-algorithm")
    )


def verify(seen: Seen, keys: Keys, now: float) -> Signed:
    """Raises Refused: AccessDenied, InvalidAccessKeyId, RequestTimeTooSkewed, SignatureDoesNotMatch."""
    fields, is_link = _fields(seen)
    if fields.get("q-sign-algorithm") != "sha1":
        raise Refused("AccessDenied", "Only q-sign-algorithm=sha1 is supported.")
    if fields.get("q-ak") != keys.secret_id:
        raise Refused("InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
    _require_time(fields.get("q-sign-time", ""), now)
    _require_time(fields.get("q-key-time", ""), now)
    token = seen.headers.get("x-cos-security-token") or seen.parameter("x-cos-security-token") or ""
    if keys.token and not hmac.compare_digest(token.encode(), keys.token.encode()):
        raise Refused("AccessDenied", "The security token is invalid or has expired.")
    for host in _hosts(seen.headers.get("host", "")):
        expected = signature(seen, fields, keys.secret_key, host)
        if hmac.compare_digest(expected.encode(), fields.get("q-signature", "").encode()):
            return Signed(expected if is_link else "")
    raise Refused(
        "SignatureDoesNotMatch",
        "The Signature you specified is invalid. Check the SecretKey and how the signature is computed.",
    )


def signature(seen: Seen, fields: Mapping[str, str], secret_key: str, host: str) -> str:
    """The signature of a request whose Host is taken to be `host`."""
    headers = {**seen.headers, "host": host}
    parameters = {quote(key, _SAFE).lower(): value for key, value in seen.query}
    listed_headers = [name for name in fields.get("q-header-list", "").split(";") if name]
    listed_parameters = [name for name in fields.get("q-url-param-list", "").split(";") if name]
    text = "\n".join(
        (
            seen.method.lower(),
            unquote(seen.path),
            "&".join(f"{name}={quote(parameters.get(name, ''), _SAFE)}" for name in listed_parameters),
            "&".join(f"{name}={quote(headers.get(name, ''), _SAFE)}" for name in listed_headers),
            "",
        )
    )
    digest = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 - the protocol's
    to_sign = f"sha1\n{fields.get('q-sign-time', '')}\n{digest}\n"
    key = _hmac(secret_key.encode(), fields.get("q-key-time", ""))
    return _hmac(key.encode(), to_sign)


def _hmac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha1).hexdigest()


def _fields(seen: Seen) -> tuple[dict[str, str], bool]:
    header = seen.headers.get("authorization", "")
    if header.startswith("q-sign-algorithm="):
        pairs = (item.partition("=") for item in header.split("&"))
        return {key: value for key, _, value in pairs}, False
    return {key: value for key, value in seen.query if key.startswith("q-")}, True


def _hosts(host: str) -> tuple[str, ...]:
    """The SDK leaves the port out of the Host that it signs; on the default port both are the same."""
    name = host.rpartition(":")[0]
    return (host, name) if name else (host,)


def _require_time(span: str, now: float) -> None:
    begin, _, end = span.partition(";")
    if not (begin.isdecimal() and end.isdecimal()):
        raise Refused("AccessDenied", "The signature's time is malformed.")
    if now > int(end):
        raise Refused("AccessDenied", "Request has expired")
    if now < int(begin):
        raise Refused(
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
        )
