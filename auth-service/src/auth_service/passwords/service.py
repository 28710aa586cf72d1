"""The problems of changing a password."""

from shared.problems import Forbidden


class PasswordWrong(Forbidden):
    """The current password is not the one that was sent."""

    status, title = 403, "The current password is wrong"
    remedy = "Check it, or ask for a link at POST /auth/password/reset."
