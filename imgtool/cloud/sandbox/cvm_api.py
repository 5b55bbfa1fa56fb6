"""The CVM API: signatures, common parameters, then the actions that images need (ref 20 to 24)."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from imgtool.cloud.sandbox.requests import seen_of
from imgtool.cloud.sandbox.signatures import tc
from imgtool.cloud.sandbox.signatures.seen import Keys, Refused

if TYPE_CHECKING:
    from imgtool.cloud.sandbox.actions import Actions
    from imgtool.cloud.sandbox.faults import Faults

VERSION = "2017-03-12"
# ref 20: the largest requests, in bytes: GET; POST signed by v1; POST signed by v3.
_LARGEST = {"GET": 32 << 10, "v1": 1 << 20, "v3": 10 << 20}
# ref 21, 22: calls a second for each action.
_RATES = {"DescribeImportImageOs": 288, "ImportSnapshot": 20}
_RATE = 10
_COMMON_V1 = frozenset(
    {
        *("Action", "Region", "Timestamp", "Nonce", "SecretId", "Signature", "Version", "SignatureMethod"),
        *("Token", "Language", "RequestClient"),
    }
)


def is_call(request: web.Request) -> bool:
    """Whether a request is for the CVM API and not for the storage."""
    if request.path != "/":
        return False
    if "X-TC-Action" in request.headers or "Action" in request.query:
        return True
    return request.method == "POST" and request.content_type == "application/x-www-form-urlencoded"


class CvmApi:
    """Answers calls: always HTTP 200 with a Response that holds a RequestId, and an Error when refused."""

    def __init__(self, actions: Actions, keys: Keys, region: str, faults: Faults) -> None:
        self._actions, self._keys, self._region, self._faults = actions, keys, region, faults
        self._calls: dict[str, deque[float]] = {}
        self._nonces: dict[tuple[str, str], float] = {}

    async def answer(self, request: web.Request, now: float) -> web.StreamResponse:
        """One call. now: the clock, in seconds since 1970."""
        request_id = str(uuid.uuid4())
        result: Mapping[str, Any]
        try:
            result = await self._call(request, now)
        except Refused as refused:
            result = {"Error": {"Code": refused.code, "Message": refused.message}}
        action = request.headers.get("X-TC-Action") or request.query.get("Action")
        if result.get("Error", {}).get("Code") == "DryRunOperation":
            action = "DryRun"  # nothing was done whose answer could be lost
        if self._faults.strikes("api-drop", action) and request.transport is not None:
            request.transport.abort()
        if self._faults.strikes("api-error", action):
            result = {"Error": {"Code": "InternalError", "Message": "An internal error has occurred."}}
        body = json.dumps({"Response": {**result, "RequestId": request_id}}, ensure_ascii=False).encode()
        # The SDK takes an answer for an error only where the type says exactly this.
        headers = {"Content-Type": "application/json"}
        if self._faults.strikes("api-cut", action):
            return await _cut_short(request, body, headers)
        return web.Response(body=body, headers=headers)

    async def _call(self, request: web.Request, now: float) -> Mapping[str, Any]:
        if request.method not in ("GET", "POST"):
            raise Refused("UnsupportedProtocol", "Only GET and POST are supported.")
        by_v3 = (
            request.headers.get("Authorization", "").startswith("TC3-") or "X-TC-Action" in request.headers
        )
        largest = _LARGEST["GET"] if request.method == "GET" else _LARGEST["v3" if by_v3 else "v1"]
        if len(request.raw_path) > largest or (request.content_length or 0) > largest:
            raise Refused("RequestSizeLimitExceeded", f"The request is larger than {largest} bytes.")
        if self._faults.strikes("rate", request.headers.get("X-TC-Action") or request.query.get("Action")):
            raise Refused(
                "RequestLimitExceeded", "Your current request times exceed the limit, please retry."
            )
        seen, body = seen_of(request), await request.read()
        if by_v3:
            form = request.content_type == "application/x-www-form-urlencoded"
            if form != (request.method == "GET"):
                raise Refused(
                    "UnsupportedProtocol", "TC3-HMAC-SHA256 goes with GET and forms, or with POST and JSON."
                )
            tc.verify_v3(seen, body, self._keys, now)
            common = {
                name: request.headers.get(f"X-TC-{name}", "") for name in ("Action", "Version", "Region")
            }
            parameters = _from_json(body) if request.method == "POST" else unfolded(dict(seen.query))
        else:
            if request.method == "POST" and request.content_type != "application/x-www-form-urlencoded":
                raise Refused("UnsupportedProtocol", "HmacSHA1 and HmacSHA256 go with forms.")
            flat = dict(seen.query)
            if request.method == "POST":
                flat = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
            tc.verify_v1(seen, flat, self._keys, now)
            self._require_new(flat["Timestamp"], flat["Nonce"], now)
            common = {name: flat.get(name, "") for name in ("Action", "Version", "Region")}
            parameters = unfolded({name: value for name, value in flat.items() if name not in _COMMON_V1})
        action = self._action(common)
        self._require_rate(common["Action"])
        return action(parameters)

    def _action(self, common: Mapping[str, str]) -> Callable[[dict[str, Any]], Mapping[str, Any]]:
        for name, value in common.items():
            if not value:
                raise Refused("MissingParameter", f"The common parameter {name} is missing.")
        if common["Version"] != VERSION:
            raise Refused("NoSuchVersion", f"The version is not found; there is {VERSION}.")
        action = self._actions.by_name.get(common["Action"])
        if action is None:
            raise Refused("InvalidAction", f"The action {common['Action']} does not exist.")
        if common["Region"] != self._region:
            raise Refused("UnsupportedRegion", f"The region {common['Region']} is not supported.")
        return action

    def _require_rate(self, action: str) -> None:
        calls = self._calls.setdefault(action, deque())
        at = time.monotonic()
        while calls and calls[0] <= at - 1:
            calls.popleft()
        if len(calls) >= _RATES.get(action, _RATE):
            raise Refused(
                "RequestLimitExceeded", "Your current request times exceed the limit, please retry."
            )
        calls.append(at)

    def _require_new(self, timestamp: str, nonce: str, now: float) -> None:
        """Ref 20: Nonce and Timestamp together are there against replays."""
        oldest = now - 2 * tc.CLOCK_RULE
        self._nonces = {key: at for key, at in self._nonces.items() if at > oldest}
        if (timestamp, nonce) in self._nonces:
            raise Refused("AuthFailure.SignatureFailure", "This request has been made before.")
        self._nonces[timestamp, nonce] = now


async def _cut_short(request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Half of an answer, and the connection's end."""
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _from_json(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        raise Refused("InvalidParameter", "The body is not JSON.") from None
    if not isinstance(content, dict):
        raise Refused("InvalidParameter", "The body is not a JSON object.")
    return content


def unfolded(flat: Mapping[str, str]) -> dict[str, Any]:
    """Parameters written as A.0.B=x, as the nested values that they stand for."""
    root: dict[str, Any] = {}
    for name, value in flat.items():
        here = root
        *above, last = name.split(".")
        for part in above:
            inner = here.setdefault(part, {})
            if not isinstance(inner, dict):
                raise Refused("InvalidParameter", f"{name} is both a value and a structure.")
            here = inner
        here[last] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_lists(value[key]) for key in sorted(value, key=int)]
    return {key: _lists(inner) for key, inner in value.items()}
