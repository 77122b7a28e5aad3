"""What a browser calls itself, in words that a person recognises.

Laws of this module: nothing is decided by it; a User-Agent is what any client writes.
"""

import re

MAX_CHARACTERS = 60
UNKNOWN = "unknown client"

# Most specific first: each names those after it as well, so that sites made for them work.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("HeadlessChrome", "Chrome"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_PRODUCT = re.compile(r"[A-Za-z0-9._-]{1,40}")


def browser_in_words(user_agent: str) -> str:
    """Such as "Firefox on Linux"; of what is no browser its product, such as "curl". At most 60 characters."""
    browser = next((words for mark, words in _BROWSERS if f"{mark}/" in user_agent), "")
    system = next((words for mark, words in _SYSTEMS if mark in user_agent), "")
    if not browser:
        product = _PRODUCT.match(user_agent)
        return product.group() if product else UNKNOWN
    return f"{browser} on {system}" if system else browser
