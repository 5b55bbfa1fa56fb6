"""The official SDKs, as their own documentation has them used, told where the sandbox is."""

from __future__ import annotations

from typing import Any

import boto3
from qcloud_cos import CosConfig, CosS3Client
from tencentcloud.common import credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.cvm.v20170312 import cvm_client

from imgtool.cloud.sandbox.server import Sandbox


def cos(sandbox: Sandbox, secret_key: str | None = None, retry: int = 0, **more: Any) -> CosS3Client:
    given = {"Endpoint": sandbox.endpoint, **more}
    config = CosConfig(
        SecretId=sandbox.keys.secret_id,
        SecretKey=secret_key or sandbox.keys.secret_key,
        Scheme="http",
        IP="127.0.0.1",
        Port=sandbox.port,
        **given,
    )
    return CosS3Client(config, retry=retry)


def s3(sandbox: Sandbox, secret_key: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{sandbox.port}",
        aws_access_key_id=sandbox.keys.secret_id,
        aws_secret_access_key=secret_key or sandbox.keys.secret_key,
        region_name="sandbox-1",
    )


def cvm(
    sandbox: Sandbox,
    method: str = "TC3-HMAC-SHA256",
    verb: str = "POST",
    *,
    secret_id: str | None = None,
    secret_key: str | None = None,
    token: str | None = None,
    region: str | None = None,
) -> cvm_client.CvmClient:
    http = HttpProfile(protocol="http", endpoint=f"127.0.0.1:{sandbox.port}", reqMethod=verb)
    keys = credential.Credential(
        secret_id or sandbox.keys.secret_id, secret_key or sandbox.keys.secret_key, token
    )
    return cvm_client.CvmClient(keys, region or sandbox.region, ClientProfile(method, httpProfile=http))
