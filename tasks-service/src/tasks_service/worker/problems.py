"""Why an attempt failed for reasons outside its kind."""

from shared.problems import Forbidden, Problem, ServiceUnavailable


class JobTimedOut(Problem):
    """One attempt took longer than its kind allows."""

    status, title = 504, "The job took too long"
    remedy = "Make the job smaller: fewer rows, a smaller file."


class OwnerNotMember(Forbidden):
    """The person who submitted the job is no longer an active member of its tenant."""

    status, title = 403, "The job's owner is not a member of the tenant"
    remedy = "Have a member of the tenant submit the job."


class OwnerTenantSuspended(Forbidden):
    """The tenant that the job belongs to is suspended."""

    status, title = 403, "The job's tenant is suspended"
    remedy = "Ask the operator of the fleet to resume the tenant, then retry the job."


class UsersUnavailable(ServiceUnavailable):
    """users-service does not respond, so neither the owner's roles nor their files can be read. Uses up no attempt."""

    status, title = 503, "users-service is unavailable"
