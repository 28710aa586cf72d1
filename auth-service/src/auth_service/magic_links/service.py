"""The rules of mailed sign-in links: each is bound to the browser that asked for it.

A mail can be read by others, and a link be opened by a scanner. So the link alone signs no one in: it takes the cookie
of the browser that asked. Another browser gets a code, which its person types into the first one.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.keyring import Keyring
from auth_service.links import service as links
from auth_service.links.models import Link
from auth_service.links.service import LinkInvalid
from shared.problems import Forbidden, Problem

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words; none looks like a digit (RFC 8628, section 6.1)
_CODE_LETTERS: Final = 8
_MOST_FAILURES: Final = 5


class OtherBrowser(Forbidden):
    """The link was opened in another browser than the one that asked for it; it is not spent."""

    status, title = 403, "The link belongs to another browser"
    remedy = "Type `code_to_type` into the browser that asked for the link, or open the link there."

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code_to_type = code

    @classmethod
    def example(cls) -> "OtherBrowser":
        return cls("WDJB-MJHT")

    def extensions(self) -> Mapping[str, object]:
        return {"code_to_type": self.code_to_type}


class CodeWrong(Problem):
    """No link that this browser asked for has this code; after five wrong ones its links are invalid."""

    status, title = 400, "The code is wrong"
    remedy = "Type the code that the other browser shows, into the browser that asked for the link."
    keeps_writes = True


def browser_digest(cookie: str) -> bytes:
    """What is stored of a browser's cookie."""
    return hashlib.sha256(cookie.encode()).digest()


def code_of(link: Link, keyring: Keyring) -> str:
    """The code of a link, such as `BCDF-GHJK`."""
    number = int.from_bytes(keyring.current.mac("sign-in codes", link.digest), "big")
    letters = "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(_CODE_LETTERS))
    return f"{letters[:4]}-{letters[4:]}"


async def find(db: AsyncSession, token: str, cookie: str | None, keyring: Keyring) -> Link:
    """The link, not spent by this. Raises LinkInvalid; OtherBrowser if `cookie` is not the one of who asked."""
    link = await links.find(db, token, "sign_in")
    if cookie is None or link.browser != browser_digest(cookie):
        raise OtherBrowser(code_of(link, keyring))
    return link


async def spend(db: AsyncSession, token: str, cookie: str | None, keyring: Keyring) -> Link:
    """The link, which is deleted: of concurrent calls, one gets it. Raises LinkInvalid, OtherBrowser."""
    await find(db, token, cookie, keyring)
    return await links.spend(db, token, "sign_in")


async def spend_by_code(db: AsyncSession, typed: str, cookie: str | None, keyring: Keyring) -> Link:
    """The link with that code, of those that the browser asked for, which is deleted. Raises LinkInvalid, CodeWrong."""
    asked = await links.of_browser(db, browser_digest(cookie), "sign_in") if cookie is not None else []
    if not asked:
        raise LinkInvalid
    wanted = "".join(filter(str.isalpha, typed.upper())).encode()
    for link in asked:
        if hmac.compare_digest(code_of(link, keyring).replace("-", "").encode(), wanted):
            await db.delete(link)
            return link
    for link in asked:
        link.failures += 1
        if link.failures >= _MOST_FAILURES:
            await db.delete(link)
    raise CodeWrong
