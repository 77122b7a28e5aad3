"""The upstream zoo: mTLS upstreams on loopback, each broken in one way. For tests, and for people who want to learn.

`members()` says what there is, `with run_zoo() as zoo:` runs it.
"""

from upstream_tls.zoo.member import Member
from upstream_tls.zoo.members import members
from upstream_tls.zoo.pki import PKI
from upstream_tls.zoo.running import Running, run_zoo

__all__ = ["PKI", "Member", "Running", "members", "run_zoo"]
