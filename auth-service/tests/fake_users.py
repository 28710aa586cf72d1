"""users-service's internal API over memory, as the contract between the two services words it; served on a socket."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from shared.ids import new_id

Gate = Callable[[], Awaitable[object]]


class FakeUsers:
    """What users-service knows, as a test moves it.

    `away` makes it fail as a service that is down does; with `loses_answers` it does what it is asked for and fails
    then; `before_answer` runs once, when a call has been carried out and its caller does not know yet.
    """

    def __init__(self) -> None:
        self.people: dict[str, str] = {}
        self.ended: set[str] = set()
        self.confirmed: set[str] = set()
        self.tenants: dict[str, dict[str, Any]] = {}
        self.memberships: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.entries: list[dict[str, Any]] = []
        self.away = False
        self.loses_answers = False
        self.before_answer: Gate | None = None
        self.app = self._application()

    def add_tenant(self, slug: str, tenant_id: str | None = None, **more: Any) -> dict[str, Any]:
        tenant = {"id": tenant_id or str(new_id()), "slug": slug, "name": slug.title(), "tier": "free"}
        self.tenants[slug] = tenant | {"status": "active"} | more
        return self.tenants[slug]

    def add_member(self, slug: str, user_id: str, *, roles: list[str], status: str = "active") -> dict[str, Any]:
        """A membership as `PUT /api/v1/tenants/{id}/members/{user_id}` leaves it."""
        key = (self.tenants[slug]["id"], user_id)
        known = self.memberships.get(key, {"id": str(new_id()), "version": 0, "created_at": _now()})
        self.memberships[key] = known | {
            "user_id": user_id,
            "username": self.people.get(user_id, "someone"),
            "tenant": self.tenants[slug],
            "roles": roles,
            "status": status,
            "version": known["version"] + 1,
        }
        return self.memberships[key]

    def end_member(self, slug: str, user_id: str) -> None:
        del self.memberships[self.tenants[slug]["id"], user_id]

    def _application(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def watch(request: Request, call_next: Any) -> Response:
            if not request.url.path.endswith("/revocations"):
                self.calls.append(f"{request.method} {request.url.path}")
            if self.away:
                return Response(status_code=503)
            assert request.headers["authorization"].startswith("Bearer ")
            reply: Response = await call_next(request)
            if self.before_answer is not None and not request.url.path.endswith("/revocations"):
                gate, self.before_answer = self.before_answer, None
                await gate()
            return Response(status_code=504) if self.loses_answers else reply

        self._serve_registrations(app)
        self._serve_memberships(app)
        return app

    def _serve_registrations(self, app: FastAPI) -> None:
        @app.put("/internal/registrations/{user_id}")
        async def register(user_id: UUID, request: Request) -> Response:
            return self._registered(str(user_id), await request.json())

        @app.delete("/internal/registrations/{user_id}")
        async def take_back(user_id: UUID) -> Response:
            return self._taken_back(str(user_id))

    def _serve_memberships(self, app: FastAPI) -> None:
        @app.get("/internal/memberships")
        async def memberships(user_id: UUID) -> dict[str, Any]:
            return {"items": [m for (_, user), m in self.memberships.items() if user == str(user_id)]}

        @app.get("/internal/memberships/{tenant_id}/{user_id}")
        async def membership(tenant_id: UUID, user_id: UUID) -> Response:
            return _or_404(self.memberships.get((str(tenant_id), str(user_id))))

        @app.post("/internal/memberships/{tenant_id}/{user_id}/accept")
        async def accept(tenant_id: UUID, user_id: UUID) -> Response:
            found = self.memberships.get((str(tenant_id), str(user_id)))
            if found is not None and found["status"] == "invited":
                self.add_member(found["tenant"]["slug"], str(user_id), roles=found["roles"])
            return _or_404(self.memberships.get((str(tenant_id), str(user_id))))

        @app.get("/internal/revocations")
        async def revocations() -> dict[str, Any]:
            return {"entries": self.entries, "next": "1"}

    def _registered(self, user_id: str, body: dict[str, Any]) -> Response:
        tenant, default = body["tenant"], self.tenants.get("default")
        if user_id in self.ended:
            return _problem(409, "registration_ended")
        if user_id not in self.people:
            if tenant is not None and tenant["slug"] in ("www", "api"):
                return _problem(422, "slug_reserved")
            if tenant is not None and tenant["slug"] in self.tenants:
                return _problem(409, "slug_taken")
            self.people[user_id] = body["username"]
            if tenant is not None:
                self.add_tenant(tenant["slug"], tenant["id"], name=tenant["name"])
                self.add_member(tenant["slug"], user_id, roles=["admin"])
            elif default is not None:
                self.add_member("default", user_id, roles=["user"])
        own = next((m for (_, user), m in self.memberships.items() if user == user_id), None)
        return JSONResponse({"user_id": user_id, "membership": own})

    def _taken_back(self, user_id: str) -> Response:
        if user_id in self.confirmed:
            return _problem(409, "registration_confirmed")
        self.ended.add(user_id)
        self.people.pop(user_id, None)
        for key in [key for key in self.memberships if key[1] == user_id]:
            gone = self.memberships.pop(key)
            if gone["roles"] == ["admin"]:
                del self.tenants[gone["tenant"]["slug"]]
        return Response(status_code=204)


def _or_404(found: dict[str, Any] | None) -> Response:
    return JSONResponse(found) if found else _problem(404, "not_found")


def _problem(status: int, code: str) -> Response:
    body = {"type": f"/problems/{code}", "title": code, "status": status, "detail": code, "code": code}
    return JSONResponse(body, status, media_type="application/problem+json")


def _now() -> str:
    return datetime.now(UTC).isoformat()
