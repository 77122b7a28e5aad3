"""Finding the blocks of a PEM text."""

import pytest

from upstream_tls.tls.pem import MAX_BLOCKS, MAX_PEM_BYTES, CredentialProblem, split_pem

BLOCK = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def problem_of(pem: bytes) -> str:
    with pytest.raises(CredentialProblem) as caught:
        split_pem(pem)
    assert caught.value.code == "bad_pem"
    return caught.value.message


def test_blocks_are_found_in_order_and_text_between_them_is_ignored() -> None:
    """Bag attributes, comments and CRLF line ends do not disturb."""
    pem = (
        b"# a comment\r\n" + BLOCK.replace(b"\n", b"\r\n") + b"Bag Attributes\n" + BLOCK.replace(b"CERT", b"X509 CERT")
    )
    assert [block.label for block in split_pem(pem)] == ["CERTIFICATE", "X509 CERTIFICATE"]
    assert all(block.is_certificate and not block.is_private_key for block in split_pem(pem))


def test_nothing_found_is_no_error() -> None:
    """What an empty text means is for the caller to say."""
    assert split_pem(b"") == split_pem(b"\xff\x00 not PEM") == ()


def test_a_block_never_shows_its_content() -> None:
    """A repr of a private key's block holds its label only."""
    (block,) = split_pem(BLOCK.replace(b"CERTIFICATE", b"EC PRIVATE KEY"))
    assert block.is_private_key
    assert repr(block) == "PEMBlock(label='EC PRIVATE KEY')"


def test_a_missing_end_is_named() -> None:
    """A block without its own END line is refused, also when a later block has one."""
    assert problem_of(BLOCK[:-30] + BLOCK) == "The line -----END CERTIFICATE----- is missing."
    assert problem_of(BLOCK.replace(b"END CERTIFICATE", b"END CRL")) == "The line -----END CERTIFICATE----- is missing."


def test_sizes_are_bounded_before_anything_is_parsed() -> None:
    """Too many bytes and too many blocks are refused with the bound."""
    assert problem_of(b"x" * (MAX_PEM_BYTES + 1)) == "This is larger than 1024 KiB."
    assert problem_of(BLOCK * (MAX_BLOCKS + 1)) == "This holds more than 500 PEM blocks."
    assert len(split_pem(BLOCK * MAX_BLOCKS)) == MAX_BLOCKS
