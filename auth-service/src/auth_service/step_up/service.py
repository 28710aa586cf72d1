"""The problems of a step-up."""

from shared.problems import Forbidden


class FactorNeeded(Forbidden):
    """The account has a second factor, so the password alone does not confirm that it is its person."""

    status, title = 403, "Confirm with your second factor"
    remedy = "Send a code of the authenticator app, a recovery code, or the answer of a passkey."


class ConfirmationRefused(Forbidden):
    """The password is not the account's."""

    status, title = 403, "The password is wrong"
    remedy = "Check it. After ten failures in 15 minutes, further attempts are refused for a while."
