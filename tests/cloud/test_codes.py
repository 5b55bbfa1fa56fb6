"""Every documented code is explained; secrets are taken out of what others say."""

from __future__ import annotations

import pytest

from imgtool.cloud.codes import codes, explain
from imgtool.cloud.failures import Refusal, unreachable, without_secrets
from tests.cloud.sdks import Sandbox


@pytest.mark.parametrize("table", ["cvm", "import", "storage"])
def test_every_code_says_what_it_means_and_what_to_do_in_both_languages(table: str) -> None:
    assert len(codes(table)) >= {"cvm": 143, "import": 7, "storage": 20}[table]
    for code, told in codes(table).items():
        for text in (told.meaning, told.action):
            assert text.en.endswith("."), code
            assert text.zh.endswith("。"), code
            assert text.en.isascii(), code
            assert not text.zh.isascii(), code


@pytest.mark.parametrize(
    "code",
    [
        # ref 21, ImportImage
        *("ImageQuotaLimitExceeded", "InvalidImageName.Duplicate", "InvalidImageOsVersion.Unsupported"),
        *("InvalidParameter.InvalidParameterUrlError", "RegionAbilityLimit.UnsupportedToImportImage"),
        *("InvalidImageOsType.Unsupported", "MissingParameter", "FailedOperation.NoAvailableCbs"),
        # ref 20
        *(
            "AuthFailure.SignatureExpire",
            "AuthFailure.MFAFailure",
            "RequestLimitExceeded",
            "UnsupportedRegion",
        ),
    ],
)
def test_the_codes_of_an_import_are_among_them(code: str) -> None:
    assert code in codes("cvm")


def test_a_code_that_is_not_listed_is_explained_as_the_one_above_it() -> None:
    assert explain("CVM", "AuthFailure.SignatureFailure.New") == explain(
        "CVM", "AuthFailure.SignatureFailure"
    )
    assert "does not know" in explain("CVM", "Nonsense").meaning.en


def test_a_refusal_has_the_code_the_meaning_the_way_out_and_the_request_id() -> None:
    refusal = Refusal("CVM", "ImageQuotaLimitExceeded", "quota is 10", "id-1")
    assert refusal.exit_code == 5
    for said in ("ImageQuotaLimitExceeded", "quota is 10", "id-1"):
        assert said in refusal.statement().en
        assert said in refusal.statement().zh
    assert "Delete images" in refusal.statement().en


def test_signatures_and_keys_are_taken_out_of_foreign_words() -> None:
    said = (
        "HTTPConnectionPool: /k?q-sign-algorithm=sha1&q-ak=AKIDx&q-signature=abc&x-cos-security-token=t "
        "X-Amz-Signature=def&X-Amz-Credential=AKIDy%2F2026"
    )
    for secret in ("AKIDx", "abc", "def", "AKIDy"):
        assert secret not in without_secrets(said)
        assert secret not in unreachable("COS", "host", said).statement().en


def test_the_sandbox_s_own_keys_are_readable_by_their_owner_only(sandbox: Sandbox) -> None:
    path = sandbox.write_environment()
    assert path.stat().st_mode & 0o077 == 0
    assert (sandbox.folder / "keys.json").stat().st_mode & 0o077 == 0
