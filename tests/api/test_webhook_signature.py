"""Signatures of webhooks. All of these were made by ``openssl dgst -sha256 -hmac``, and none by our code."""

from __future__ import annotations

import pytest

from formant_provider.api.webhook_signature import Verdict, signature, verdict

SECRET = "whsec_rosetta_stone_1799"
OLDER = "whsec_older_secret_42xx"
CYRILLIC = "пароль-из-букв-кириллицы"
BODY = (
    b'{"event_id": "evt_1", "event_type": "call.completed", "timestamp": "2026-03-18T10:00:00Z", "data": {}}'
)
COMPACT = b'{"event_id":"evt_1","event_type":"call.completed","timestamp":"2026-03-18T10:00:00Z","data":{}}'
TAMPERED = BODY.replace(b"evt_1", b"evt_2")

OF_BODY = "e62722e656908087973a042f9b007981baaf779c3599782493ec35f5487c919c"
OF_BODY_BY_OLDER = "53daad78d00dff5e000e45b61cecb6d83d4f2f146b4bf1808394a3cfdbb5768c"
OF_BODY_BY_ANOTHER = "096dac20882e3610b090ac316cabb5cf65777ae8018ada453bb3906e31abb6b7"
OF_BODY_BY_CYRILLIC = "47c3d06b4778da41affecb1715f2797b5c90a6a423ee9f133c93926f16767c2a"
OF_COMPACT = "ed7db310e9efc990f8c99c306902d4021be963d75f9c4e2dd1015cab6b333b0d"
OF_TAMPERED = "2c0b0590910ce0baa652379888ed8b815bf24787c18018e8537b861544710da2"
OF_NOTHING = "deaf8445ac2f4c922e246c074f7f780d2fe05de9dd9dc2d4d0bd115338bcda36"
SHA1_OF_BODY = "895dcd8473ce2a1c9b5f70c9cfd1828d1251cdf5"

ONE, TWO = (SECRET,), (SECRET, OLDER)


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        pytest.param(BODY, f"sha256={OF_BODY}", ONE, id="valid"),
        pytest.param(BODY, f"sha256={OF_BODY}", TWO, id="the first of two"),
        pytest.param(BODY, f"sha256={OF_BODY_BY_OLDER}", TWO, id="the second of two"),
        pytest.param(BODY, f"sha256={OF_BODY_BY_CYRILLIC}", (CYRILLIC,), id="a secret in UTF-8"),
        pytest.param(COMPACT, f"sha256={OF_COMPACT}", ONE, id="the same JSON in other bytes"),
        pytest.param(TAMPERED, f"sha256={OF_TAMPERED}", ONE, id="another body"),
        pytest.param(b"", f"sha256={OF_NOTHING}", ONE, id="an empty body"),
        pytest.param(BODY, f"sha256={OF_BODY.upper()}", ONE, id="digits in upper case"),
    ],
)
def test_what_was_signed_with_a_secret_is_valid(body: bytes, header: str, secrets: tuple[str, ...]) -> None:
    """The bytes count as they came, whatever they mean; the digits are hex, of either case."""
    assert verdict(body, header, secrets) is Verdict.VALID


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        pytest.param(TAMPERED, f"sha256={OF_BODY}", TWO, id="tampered"),
        pytest.param(COMPACT, f"sha256={OF_BODY}", TWO, id="other bytes of equal JSON"),
        pytest.param(BODY + b"\n", f"sha256={OF_BODY}", ONE, id="a newline more"),
        pytest.param(b"", f"sha256={OF_BODY}", ONE, id="the body cut off"),
        pytest.param(BODY, f"sha256={OF_BODY_BY_ANOTHER}", TWO, id="another secret"),
        pytest.param(BODY, f"sha256={OF_BODY_BY_OLDER}", ONE, id="a secret that was exchanged"),
        pytest.param(BODY, f"sha256={OF_BODY}", (f"{SECRET},{OLDER}",), id="two secrets in one text"),
        pytest.param(BODY, f"sha256={OF_NOTHING}", ONE, id="that of nothing"),
        pytest.param(BODY, f"sha256={'0' * 64}", ONE, id="zeros"),
        pytest.param(BODY, f"sha256={OF_BODY}", (), id="no secret"),
    ],
)
def test_what_was_not_signed_so_is_wrong(body: bytes, header: str, secrets: tuple[str, ...]) -> None:
    """One bit of the body or of the secret is enough."""
    assert verdict(body, header, secrets) is Verdict.WRONG


@pytest.mark.parametrize("header", [None, ""])
def test_a_body_without_a_signature_is_not_valid(header: str | None) -> None:
    """The vendor's page says to refuse it."""
    assert verdict(BODY, header, ONE) is Verdict.MISSING


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(OF_BODY, id="no prefix"),
        pytest.param(f"sha1={SHA1_OF_BODY}", id="SHA-1"),
        pytest.param(f"sha256={SHA1_OF_BODY}", id="SHA-1 under another name"),
        pytest.param(f"SHA256={OF_BODY}", id="prefix in upper case"),
        pytest.param(f"sha256={OF_BODY[:-1]}", id="an odd number of digits"),
        pytest.param(f"sha256={OF_BODY[:-2]}", id="a byte less"),
        pytest.param(f"sha256={OF_BODY}00", id="a byte more"),
        pytest.param(f"sha256={OF_BODY[:-1]}g", id="no hex"),
        pytest.param(f"sha256={OF_BODY[:-1]}\u0669", id="a digit of another script"),
        pytest.param("sha256=", id="no digits"),
        pytest.param(f"sha256= {OF_BODY}", id="a space within"),
        pytest.param(f" sha256={OF_BODY}", id="a space before"),
        pytest.param(f"sha256={OF_BODY}\n", id="a newline after"),
        pytest.param(f"sha256={OF_BODY}, sha256={OF_BODY}", id="twice"),
        pytest.param(f"sha256={OF_BODY[:32]} {OF_BODY[32:]}", id="a space among the digits"),
    ],
)
def test_a_signature_in_another_form_is_malformed(header: str) -> None:
    """``sha256=`` and 64 hex digits, and nothing else, although the digits would be right."""
    assert verdict(BODY, header, ONE) is Verdict.MALFORMED


def test_what_we_sign_ourselves_is_what_openssl_signs() -> None:
    """So a test event that is sent through the public URL is signed as the vendor's are."""
    assert signature(BODY, SECRET) == f"sha256={OF_BODY}"
    assert signature(BODY, CYRILLIC) == f"sha256={OF_BODY_BY_CYRILLIC}"
