"""Opens one PKCS#12 file in a process of its own; run by `upstream_tls.tls.pkcs12`, never imported by the product.

Laws of this module:
- What costs time in a PKCS#12 file may stand inside its encrypted parts, where nobody can look before paying. So the
  price is bounded from outside: the kernel ends this process when it has used its share of CPU time or memory.
- It runs isolated (`python -I`) and imports nothing of Aegis. Secrets come and go through pipes; nothing is written.

Input: four bytes with the length of the passphrase, the passphrase, the file. Output: PEM, the key first. The exit
status is 0, or REFUSED when the file does not open.
"""

import resource
import signal
import sys

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

# 600 000 iterations each for the MAC, the certificates and the key, which is what OWASP asks for, take about half.
CPU_LIMIT_S = 0.8
MEMORY_LIMIT_BYTES = 512 * 1024 * 1024

REFUSED = 3


def main() -> int:
    """The exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)  # SIGPROF ends a process that does not handle it
    try:
        length = int.from_bytes(sys.stdin.buffer.read(4), "big")
        passphrase = sys.stdin.buffer.read(length)
        found = pkcs12.load_pkcs12(sys.stdin.buffer.read(), passphrase or None)
        parts = [found.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())] if found.key else []
        certificates = [found.cert, *found.additional_certs]
        parts += [entry.certificate.public_bytes(Encoding.PEM) for entry in certificates if entry]
    except Exception:  # noqa: BLE001 (whatever a hostile file provokes: it does not open, and no traceback is printed)
        return REFUSED
    sys.stdout.buffer.write(b"".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
