"""The CVM API: TC3-HMAC-SHA256 (signature v3), and HmacSHA1 and HmacSHA256 (v1), as ref 20 describes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping

from imgtool.cloud.sandbox.signatures.seen import MOST_DIGITS, Keys, Refused, Seen

SERVICE = "cvm"
CLOCK_RULE = 300  # seconds that a request's time may differ from ours (ref 20)
_HEADER = re.compile(
    r"TC3-HMAC-SHA256 Credential=([^/,\s]+)/([^/,\s]+)/([^/,\s]+)/tc3_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


def verify_v3(seen: Seen, body: bytes, keys: Keys, now: float) -> None:
    """Raises Refused with an AuthFailure code."""
    found = _HEADER.fullmatch(seen.headers.get("authorization", "").strip())
    if found is None:
        raise Refused("AuthFailure.SignatureFailure", "The Authorization header is missing or malformed.")
    identity, date, service, names, given = found.groups()
    timestamp = seen.headers.get("x-tc-timestamp", "")
    _require_identity(identity, keys)
    _require_time(timestamp, now)
    if date != time.strftime("%Y-%m-%d", time.gmtime(int(timestamp))) or service != SERVICE:
        raise Refused(
            "AuthFailure.SignatureFailure",
            "The credential scope must hold the UTC date of X-TC-Timestamp and the service that is called.",
        )
    signed = names.split(";")
    if not {"content-type", "host"} <= set(signed) or signed != sorted(signed):
        raise Refused(
            "AuthFailure.SignatureFailure", "SignedHeaders must hold content-type and host, in order."
        )
    _require_token(seen.headers.get("x-tc-token", ""), keys)
    headers = "".join(f"{name}:{seen.headers.get(name, '').strip().lower()}\n" for name in signed)
    unsigned = seen.headers.get("x-tc-content-sha256") == "UNSIGNED-PAYLOAD"
    payload = b"UNSIGNED-PAYLOAD" if unsigned else body if seen.method == "POST" else b""
    canonical = "\n".join(
        (
            seen.method,
            "/",
            seen.raw_query if seen.method == "GET" else "",
            headers,
            names,
            hashlib.sha256(payload).hexdigest(),
        )
    )
    expected = sign_v3(keys.secret_key, timestamp, f"{date}/{service}/tc3_request", canonical)
    _require_equal(expected, given)


def sign_v3(secret_key: str, timestamp: str, scope: str, canonical: str) -> str:
    """The signature of a canonical request."""
    return sign_hash_v3(secret_key, timestamp, scope, hashlib.sha256(canonical.encode()).hexdigest())


def sign_hash_v3(secret_key: str, timestamp: str, scope: str, canonical_hash: str) -> str:
    """The step from the canonical request's hash to the signature."""
    key = ("TC3" + secret_key).encode()
    for word in scope.split("/"):  # date, service, tc3_request
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    to_sign = f"TC3-HMAC-SHA256\n{timestamp}\n{scope}\n{canonical_hash}"
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


def verify_v1(seen: Seen, parameters: Mapping[str, str], keys: Keys, now: float) -> None:
    """parameters: of the query (GET) or the form (POST), decoded. Raises Refused with an AuthFailure code."""
    _require_identity(parameters.get("SecretId", ""), keys)
    _require_time(parameters.get("Timestamp", ""), now)
    nonce = parameters.get("Nonce", "")
    if not nonce.isdecimal() or not nonce.strip("0"):
        raise Refused("AuthFailure.SignatureFailure", "Nonce must be a positive integer.")
    _require_token(parameters.get("Token", ""), keys)
    host = seen.headers.get("host", "")
    text = (
        seen.method
        + host
        + "/?"
        + "&".join(f"{name}={parameters[name]}" for name in sorted(parameters) if name != "Signature")
    )
    expected = sign_v1(keys.secret_key, text, parameters.get("SignatureMethod", ""))
    _require_equal(expected, parameters.get("Signature", ""))


def sign_v1(secret_key: str, text: str, method: str = "") -> str:
    """Base64 of the HMAC: SHA-256 when `method` is HmacSHA256, SHA-1 in all other cases (ref 20)."""
    digest = hashlib.sha256 if method == "HmacSHA256" else hashlib.sha1
    return base64.b64encode(hmac.new(secret_key.encode(), text.encode(), digest).digest()).decode()


def _require_identity(identity: str, keys: Keys) -> None:
    if identity == keys.secret_id:
        return
    if not identity.startswith("AKID"):
        raise Refused("AuthFailure.InvalidSecretId", "The SecretId is not a key of the cloud API.")
    raise Refused(
        "AuthFailure.SecretIdNotFound", "The SecretId is not found, please ensure that it is correct."
    )


def _require_time(timestamp: str, now: float) -> None:
    if not timestamp.isdecimal() or len(timestamp) > MOST_DIGITS or abs(now - int(timestamp)) > CLOCK_RULE:
        raise Refused(
            "AuthFailure.SignatureExpire",
            "The provided credentials have expired: the timestamp differs from the server's time by more "
            "than "
            "five minutes.",
        )


def _require_token(token: str, keys: Keys) -> None:
    if not hmac.compare_digest(token.encode(), keys.token.encode()):
        raise Refused("AuthFailure.TokenFailure", "The token is invalid or has expired.")


def _require_equal(expected: str, given: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise Refused(
            "AuthFailure.SignatureFailure",
            "The provided credentials could not be validated. Please check your signature is correct.",
        )
