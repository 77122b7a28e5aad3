"""A document on its way through a page."""

from hosts.exchange.kept_document import open_document, seal_document

DOCUMENT = {"hosts": [{"name": "orders", "key": "canary"}], "passphrase": "canary"}


def test_it_opens_for_its_user_only() -> None:
    """Whole, and for nobody else."""
    token = seal_document(DOCUMENT, user_id=1)
    assert open_document(token, user_id=1) == DOCUMENT
    assert open_document(token, user_id=2) is None


def test_other_texts_are_no_tokens() -> None:
    """Whatever somebody sends."""
    token = seal_document(DOCUMENT, user_id=1)
    for text in ("", "x", "ü", "\ud800", token[:-4], token[4:]):
        assert open_document(text, user_id=1) is None


def test_it_shows_nothing_and_is_short() -> None:
    """Though it is in the page."""
    token = seal_document({"hosts": ["canary" * 10_000]}, user_id=1)
    assert "canary" not in token
    assert len(token) < 1000
