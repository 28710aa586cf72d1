"""Why an attempt did not do its work, though the kind itself may have been willing."""

from shared.problems import Forbidden, Problem, ServiceUnavailable


class LeaseLost(Exception):
    """Another worker has the job by now, or may have: this attempt writes nothing more."""


class LeaseExpired(Problem):
    """The worker that ran the job ended or fell silent in the middle of it."""

    status, title = 503, "The worker was lost"
    remedy = "Retry the job; if it happens again, make it smaller."


class JobTimedOut(Problem):
    """One attempt took longer than its kind allows."""

    status, title = 504, "The job took too long"
    remedy = "Make the job smaller: fewer rows, a smaller file."


class OwnerNotMember(Forbidden):
    """The person who submitted the job is no active member of its tenant any more."""

    status, title = 403, "The job's owner is no member of the tenant"
    remedy = "Have a member of the tenant submit the job."


class OwnerTenantSuspended(Forbidden):
    """The tenant that the job belongs to is suspended."""

    status, title = 403, "The job's tenant is suspended"
    remedy = "Ask the operator of the fleet to resume the tenant, then retry the job."


class UsersUnavailable(ServiceUnavailable):
    """users-service does not answer, so neither the owner's roles nor their files can be had. Uses up no attempt."""

    status, title = 503, "The users service is not available right now"
