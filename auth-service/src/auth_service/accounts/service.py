"""The rules of accounts that several slices share."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import EMAIL_KEY, USERNAME_KEY
from shared.data.errors import violates
from shared.problems import Conflict


class UsernameTaken(Conflict):
    """Another account has this username; upper and lower case are the same."""

    status, title = 409, "The username is taken"
    remedy = "Choose another username."


class EmailTaken(Conflict):
    """Another account has this email; upper and lower case are the same."""

    status, title = 409, "The email already has an account"
    remedy = "Sign in, or use another email."


async def flush(db: AsyncSession) -> None:
    """Write what was changed. Raises UsernameTaken, EmailTaken."""
    try:
        await db.flush()
    except IntegrityError as error:
        if violates(error, USERNAME_KEY):
            raise UsernameTaken from None
        if violates(error, EMAIL_KEY):
            raise EmailTaken from None
        raise
