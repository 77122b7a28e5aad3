"""Cipher lists."""

import pytest

from upstream_tls.tls.ciphers import UnusableCiphers, check_ciphers


@pytest.mark.parametrize("ciphers", ["ECDHE+AESGCM", "ECDHE-RSA-AES256-GCM-SHA384:!aNULL", "DEFAULT", "HIGH:!aNULL"])
def test_lists_that_openssl_knows_pass(ciphers: str) -> None:
    """Names, groups and exclusions."""
    check_ciphers(ciphers)


@pytest.mark.parametrize("ciphers", ["nonsense", "ü", ":", "TLS_AES_128_GCM_SHA256", "!ALL"])
def test_lists_that_choose_nothing_are_refused(ciphers: str) -> None:
    """Also those that name TLS 1.3 suites only, which cannot be chosen here."""
    with pytest.raises(UnusableCiphers, match=r"OpenSSL knows no TLS 1\.2 cipher"):
        check_ciphers(ciphers)


@pytest.mark.parametrize(("ciphers", "named"), [("aNULL", "ADH-"), ("ALL:eNULL", "NULL"), ("ECDHE+AESGCM:ADH", "ADH-")])
def test_ciphers_that_do_not_protect_are_refused(ciphers: str, named: str) -> None:
    """Anonymous key exchange skips the upstream's certificate, NULL skips encryption; the message names one of them."""
    with pytest.raises(UnusableCiphers, match=named):
        check_ciphers(ciphers)
