"""Where the account's pages are, and what their forms prove."""

import re
from typing import Final

ACCOUNT: Final = "/oauth2/account"  # below the path of the browser's cookie
READ_KEYS: Final = "api-keys:read"
WRITE_KEYS: Final = "api-keys:write"
_PAGE: Final = re.compile(re.escape(ACCOUNT) + r"(/[a-z0-9-]+)*")


def is_page(path: str) -> bool:
    """Whether the path is one of the account's pages, to which another page may send the person back."""
    return _PAGE.fullmatch(path) is not None


def form_purpose(path: str) -> str:
    """What a form token is for: no token of another form is accepted at `path`."""
    return f"account {path}"
