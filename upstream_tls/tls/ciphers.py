"""Whether a TLS 1.2 cipher list can be used, found out by trying it.

Laws of this module: OpenSSL decides what a list means; what neither authenticates nor encrypts is refused.
"""

from OpenSSL import SSL

# The names of TLS 1.3 suites, which a list of TLS 1.2 ciphers neither chooses nor removes.
_TLS_1_3_PREFIX = "TLS_"

# OpenSSL's names: anonymous Diffie-Hellman checks no certificate, NULL encrypts nothing.
_ANONYMOUS_PREFIXES = ("ADH-", "AECDH-")
_UNENCRYPTED = "NULL"


class UnusableCiphers(ValueError):
    """A cipher list that no session may be opened with. The text is for users."""


def check_ciphers(ciphers: str) -> None:
    """Raises UnusableCiphers unless the OpenSSL cipher list `ciphers` selects TLS 1.2 ciphers, and only safe ones."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    try:
        context.set_cipher_list(ciphers.encode("ascii"))
        names = SSL.Connection(context, None).get_cipher_list()
    except (SSL.Error, UnicodeEncodeError) as error:
        raise UnusableCiphers("OpenSSL knows no TLS 1.2 cipher of this list.") from error
    chosen = [name for name in names if not name.startswith(_TLS_1_3_PREFIX)]
    for name in chosen:
        if name.startswith(_ANONYMOUS_PREFIXES) or _UNENCRYPTED in name:
            raise UnusableCiphers(f"The list admits {name}, which does not protect the connection: add !aNULL:!eNULL.")
