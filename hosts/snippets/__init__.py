"""The upstream's half of mTLS: ready configuration that admits exactly one host's client certificate."""

from hosts.snippets.identity import UpstreamFile
from hosts.snippets.setup import Snippet, UpstreamSetup, setup_for, snippets_for

__all__ = ["Snippet", "UpstreamFile", "UpstreamSetup", "setup_for", "snippets_for"]
