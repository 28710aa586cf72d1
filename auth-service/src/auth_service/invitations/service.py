"""The problems of an invitation, as users-service reports them."""

from shared.problems import Conflict, NotFound


class InvitationNotFound(NotFound):
    """No open invitation has this token or id, or it was sent to an address that the caller has not verified."""

    status, title = 404, "No such invitation"
    remedy = "Sign in with the account that has verified the invited address, or ask for another invitation."


class AlreadyMember(Conflict):
    """The person is a member of the tenant, or their membership is suspended: an invitation changes neither."""

    status, title = 409, "The person is a member already"
    remedy = "Sign in to the tenant. An admin changes a member's roles."
