"""One fake for each service that others call, checked against that service's contracts/ on every request."""

from shared.testing.fakes.auth import FakeAuth
from shared.testing.fakes.fake import FEED, OPENAPI, Answers, Call, ContractViolated, Fake, FeedFake, problem
from shared.testing.fakes.users import FakeUsers

__all__ = [
    "FEED",
    "OPENAPI",
    "Answers",
    "Call",
    "ContractViolated",
    "Fake",
    "FakeAuth",
    "FakeUsers",
    "FeedFake",
    "problem",
]
