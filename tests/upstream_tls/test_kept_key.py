"""A pasted key that waits in the browser."""

from tests.support.certificates import Authority
from upstream_tls.kept_key import open_key, seal_key

KEY = Authority().client().key_pem


def test_the_same_user_and_form_get_the_key_back() -> None:
    """The token is sealed: it shows nothing of the key."""
    token = seal_key(KEY, user_id=1, subject="new")
    assert open_key(token, user_id=1, subject="new") == KEY
    assert KEY.splitlines()[1] not in token


def test_nobody_else_gets_it() -> None:
    """Another user, another object, a changed token and no token at all open nothing."""
    token = seal_key(KEY, user_id=1, subject="new")
    assert open_key(token, user_id=2, subject="new") is None
    assert open_key(token, user_id=1, subject="other") is None
    assert open_key(token[:-8] + "AAAAAAA=", user_id=1, subject="new") is None
    for rubbish in ("", "x", "ü", "AAAA", "=" * 50):
        assert open_key(rubbish, user_id=1, subject="new") is None
