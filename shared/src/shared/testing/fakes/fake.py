"""What every fake of a service has in common: a real socket, the contract on both sides, identity, and outages."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.identity.principal import Principal, ServiceCaller
from shared.identity.tokens import InternalVerifier, read_header
from shared.identity.trust import watch_trust
from shared.problems import MEDIA_TYPE, InvalidToken
from shared.testing.fakes.contract import Operation, contract_of
from shared.testing.people import People
from shared.testing.running import Place, running

FEED: Final = "GET /internal/revocations"
OPENAPI: Final = "GET /internal/openapi.json"

Gate: TypeAlias = Callable[[], Awaitable[object]]
Self = TypeVar("Self", bound="Fake")


class ContractViolated(AssertionError):
    """A request or an answer is not as the faked service's contracts/ say."""


@dataclass(frozen=True)
class Call:
    """A request that the contract allows."""

    operation: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    caller: Principal | ServiceCaller | None

    @property
    def person(self) -> Principal:
        assert isinstance(self.caller, Principal)
        return self.caller


Answers: TypeAlias = Callable[[Call], Response]


class Fake:
    """One service of the fleet, made of memory and served on a real socket.

    A subclass names its service and how its operations answer. Every request and every answer is checked against that
    service's contracts/; a violation is answered with 500 and raised by `check`, at the latest when serving ends.

    `document` is its OpenAPI document. `calls` are the requests so far, without polls of the feed and of the document.
    While it is `down` every request fails, and always those of the operations in `failing`. With `loses_answers` a
    request takes effect and its answer is lost. `before_effect` is awaited once, when a request has arrived;
    `before_answer` once, when a request has taken effect and its caller does not know yet.
    """

    service: ClassVar[str]

    def __init__(self, people: People) -> None:
        self.url = ""
        self.calls: list[Call] = []
        self.failing: set[str] = set()
        self.down = self.loses_answers = False
        self.before_effect: Gate | None = None
        self.before_answer: Gate | None = None
        self._violations: list[str] = []
        self._verifier = InternalVerifier(self.service, watch_trust(people.trust_file, development=True).current)
        self._contract = contract_of(self.service)
        self.document = self._contract.document
        self._answers = {OPENAPI: self._openapi, **self.answers()}
        for name in self._answers:
            if self._contract.operation(name) is None:
                raise ContractViolated(f"{self.service}: {name} is not an operation of the contract")

    def answers(self) -> Mapping[str, Answers]:
        """How each operation answers, by its method and path template."""
        raise NotImplementedError

    @asynccontextmanager
    async def serving(self: Self) -> AsyncIterator[Self]:
        """Serve at `url` for the length of the block. Raises ContractViolated at its end."""
        async with running(self, lifespan="off") as self.url:
            yield self
        self.check()

    @contextmanager
    def serving_at(self: Self, place: Place) -> Iterator[Self]:
        """As `serving`, at an address that other fakes had before and that processes know already."""
        place.app, self.url = self, place.url
        yield self
        self.check()

    def check(self) -> None:
        """Raises ContractViolated where one was violated since the last look."""
        found, self._violations = self._violations, []
        if found:
            raise ContractViolated("\n".join(found))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        response = await self._response(Request(scope, receive))
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        body = await request.body()
        found = self._contract.find(request.method, request.url.path)
        if found is None or found[0].name not in self._answers:
            return self._violated(f"{request.method} {request.url.path}", "the fake has no such operation")
        operation, path = found
        if self.down or operation.name in self.failing:
            return problem(503, "service_unavailable")
        media_type = request.headers.get("content-type", "")
        if errors := list(operation.request_errors(path, request.query_params, media_type, body)):
            return self._violated(operation.name, *errors)
        try:
            caller = self._authorized(operation, request.headers.get("authorization"))
        except InvalidToken:
            return problem(401, "invalid_token")
        except PermissionError:
            return problem(403, "forbidden")
        return await self._answered(
            operation,
            Call(operation.name, path, request.query_params, request.headers, orjson.loads(body or b"null"), caller),
        )

    async def _answered(self, operation: Operation, call: Call) -> Response:
        if operation.name not in (FEED, OPENAPI) and self.before_effect is not None:
            gate, self.before_effect = self.before_effect, None
            await gate()
        response = self._answers[operation.name](call)
        media_type = response.headers.get("content-type", "")
        if errors := list(operation.answer_errors(response.status_code, media_type, bytes(response.body))):
            return self._violated(operation.name, *errors)
        if operation.name in (FEED, OPENAPI):
            return response
        self.calls.append(call)
        if self.before_answer is not None:
            gate, self.before_answer = self.before_answer, None
            await gate()
        return problem(504, "upstream_timeout") if self.loses_answers else response

    def _authorized(self, operation: Operation, header: str | None) -> Principal | ServiceCaller | None:
        """Whose token it is. Raises InvalidToken; PermissionError where it lacks what the operation requires."""
        if not operation.requires_token:
            return None
        token = (header or "").removeprefix("Bearer ")
        caller = self._verifier.verify(token, read_header(token))
        if operation.grant is not None:
            if not isinstance(caller, ServiceCaller) or operation.grant not in caller.grants:
                raise PermissionError
        elif not isinstance(caller, Principal):
            raise InvalidToken
        elif not operation.allows(caller.scopes):
            raise PermissionError
        return caller

    def _openapi(self, _call: Call) -> Response:
        return JSONResponse(self.document)

    def _violated(self, operation: str, *errors: str) -> Response:
        self._violations += [f"{self.service}: {operation}: {error}" for error in errors]
        return problem(500, "internal_error")


class FeedFake(Fake):
    """A fake with a revocation feed; `entries` are what it holds."""

    def __init__(self, people: People) -> None:
        super().__init__(people)
        self.entries: list[dict[str, Any]] = []

    def answers(self) -> Mapping[str, Answers]:
        return {FEED: lambda call: JSONResponse({"entries": self.entries, "next": "1"})}

    def revoke(self, kind: str, **fields: Any) -> None:
        """Report in the feed that something has ended."""
        self.entries.append({"kind": kind, "expires_at": int(time.time()) + 700, **fields})


def problem(status: int, code: str) -> Response:
    """A refusal as every service of the fleet answers it."""
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": code, "code": code}
    return JSONResponse(body, status, media_type=MEDIA_TYPE)
