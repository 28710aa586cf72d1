"""The rules of an operator's link: only the account that has verified its address may use it."""

from auth_service.accounts.models import ACTIVE, Account
from auth_service.links.models import Link
from shared.problems import Forbidden


class OtherAccount(Forbidden):
    """The link was mailed to another address than the one that the signed-in account has verified."""

    status, title = 403, "The link belongs to another account"
    remedy = "Sign in to the account that has verified the address to which the link was mailed."


def check(account: Account | None, link: Link) -> None:
    """Raises OtherAccount if the link was not mailed to the account's verified address."""
    if account is None or account.status != ACTIVE or (account.email or "").lower() != link.email.lower():
        raise OtherAccount
