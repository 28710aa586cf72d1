"""The scopes that tasks-service owns."""

from typing import Final

from shared.identity.scopes import EVERY_ROLE, Scope

SCOPES: Final = [
    Scope("jobs:read", "Read the caller's jobs, their progress and results.", "jobs", EVERY_ROLE),
    Scope("jobs:write", "Submit, cancel and retry the caller's jobs.", "jobs", EVERY_ROLE),
    Scope("email:send", "Send mail to other people by a job.", "jobs", ("admin",), sensitive=True),
]
