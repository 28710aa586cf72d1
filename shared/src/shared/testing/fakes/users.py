"""users-service: registrations, memberships, the feed of ended memberships, files."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse, Response

from shared.ids import new_id
from shared.testing.fakes.fake import Answers, Call, FeedFake, problem
from shared.testing.people import People

_MEMBERSHIP = "/internal/memberships/{tenant_id}/{user_id}"
_REGISTRATION = "/internal/registrations/{user_id}"


@dataclass(frozen=True)
class StoredFile:
    about: dict[str, Any]
    content: bytes


class FakeUsers(FeedFake):
    """What users-service knows, as a test changes it.

    Ids are text. `people` are usernames by id, `tenants` by slug, `memberships` by the ids of tenant and person;
    `details` are the birth dates and newsletter wishes of registrations by id; `ended` are registrations that were
    undone, `confirmed` accounts that it knows as active. `invitations` are offers by token.
    """

    service = "users"

    def __init__(self, people: People) -> None:
        super().__init__(people)
        self.people: dict[str, str] = {}
        self.details: dict[str, dict[str, Any]] = {}
        self.ended: set[str] = set()
        self.confirmed: set[str] = set()
        self.tenants: dict[str, dict[str, Any]] = {}
        self.memberships: dict[tuple[str, str], dict[str, Any]] = {}
        self.files: dict[str, StoredFile] = {}
        self.invitations: dict[str, dict[str, Any]] = {}

    def add_tenant(self, slug: str, tenant_id: UUID | str | None = None, **more: Any) -> dict[str, Any]:
        tenant = {"id": str(tenant_id or new_id()), "slug": slug, "name": slug.title(), "tier": "free"}
        self.tenants[slug] = tenant | {"status": "active", "version": 1, "settings": {}} | more
        return self.tenants[slug]

    def add_member(
        self,
        slug: str,
        user_id: UUID | str,
        *,
        roles: Sequence[str],
        status: str = "active",
        username: str | None = None,
    ) -> dict[str, Any]:
        """A membership as `PUT /api/v1/tenants/{id}/members/{user_id}` leaves it."""
        key = (self.tenants[slug]["id"], str(user_id))
        known = self.memberships.get(key, {"id": str(new_id()), "version": 0, "created_at": _now()})
        self.memberships[key] = known | {
            "user_id": str(user_id),
            "username": username or known.get("username") or self.people.get(str(user_id), "someone"),
            "tenant": self.tenants[slug],
            "roles": list(roles),
            "status": status,
            "version": known["version"] + 1,
        }
        return self.memberships[key]

    def end_member(self, slug: str, user_id: UUID | str) -> None:
        del self.memberships[self.tenants[slug]["id"], str(user_id)]

    def add_file(self, owner: UUID, name: str, content: bytes, content_type: str = "text/csv") -> str:
        """Store a file of the person's; its id."""
        file_id = str(new_id())
        about = {
            "id": file_id,
            "name": name,
            "content_type": content_type,
            "size_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "description": None,
            "category": None,
            "owner_id": str(owner),
            "created_at": _now(),
        }
        self.files[file_id] = StoredFile(about, content)
        return file_id

    def invite(self, slug: str, email: str, token: str, *, roles: Sequence[str] = ("user",)) -> None:
        """An open invitation with this token, from someone called ann."""
        inviter = {"id": str(new_id()), "username": "ann"}
        self.invitations[token] = {
            "tenant": {name: self.tenants[slug][name] for name in ("id", "slug", "name", "tier", "status")},
            "email": email,
            "roles": list(roles),
            "invited_by": inviter,
            "expires_at": _now(),
        }

    def answers(self) -> Mapping[str, Answers]:
        return {
            **super().answers(),
            f"PUT {_REGISTRATION}": self._register,
            f"DELETE {_REGISTRATION}": self._take_back,
            "GET /internal/memberships": self._list_memberships,
            f"GET {_MEMBERSHIP}": self._read_membership,
            f"POST {_MEMBERSHIP}/accept": self._accept,
            "GET /internal/operators": self._list_operators,
            "PUT /internal/operators/{user_id}": self._add_operator,
            "DELETE /internal/operators/{user_id}": self._remove_operator,
            "POST /internal/invitations/find": self._find_invitation,
            "POST /internal/invitations/accept": self._accept_invitation,
            "GET /api/v1/files/{file_id}": self._read_file,
            "GET /api/v1/files/{file_id}/content": self._read_content,
        }

    def _register(self, call: Call) -> Response:
        user_id, tenant = call.path["user_id"], call.body["tenant"]
        if user_id in self.ended:
            return problem(409, "registration_ended")
        if user_id not in self.people:
            if tenant is not None and tenant["slug"] in ("www", "api"):
                return problem(422, "slug_reserved")
            if tenant is not None and tenant["slug"] in self.tenants:
                return problem(409, "slug_taken")
            self._make_person(user_id, call.body["username"], tenant, call.body.get("join"))
            self.details[user_id] = {name: call.body.get(name) for name in ("birth_date", "newsletter")}
        own = next((one for (_, user), one in self.memberships.items() if user == user_id), None)
        return JSONResponse({"user_id": user_id, "membership": own})

    def _make_person(self, user_id: str, username: str, tenant: dict[str, Any] | None, join: str | None) -> None:
        self.people[user_id] = username
        if tenant is not None:
            self.add_tenant(tenant["slug"], tenant["id"], name=tenant["name"])
            self.add_member(tenant["slug"], user_id, roles=["admin"])
        elif join is not None:
            slug = next(one["slug"] for one in self.tenants.values() if one["id"] == join)
            self.add_member(slug, user_id, roles=["user"])
        elif "default" in self.tenants:
            self.add_member("default", user_id, roles=["user"])

    def _take_back(self, call: Call) -> Response:
        user_id = call.path["user_id"]
        if user_id in self.confirmed:
            return problem(409, "registration_confirmed")
        self.ended.add(user_id)
        self.people.pop(user_id, None)
        for key in [key for key in self.memberships if key[1] == user_id]:
            gone = self.memberships.pop(key)
            if gone["roles"] == ["admin"]:
                del self.tenants[gone["tenant"]["slug"]]
        return Response(status_code=204)

    def _list_memberships(self, call: Call) -> Response:
        wanted = call.query["user_id"]
        return JSONResponse({"items": [one for (_, user), one in self.memberships.items() if user == wanted]})

    def _read_membership(self, call: Call) -> Response:
        found = self.memberships.get((call.path["tenant_id"], call.path["user_id"]))
        return JSONResponse(found) if found else problem(404, "not_found")

    def _accept(self, call: Call) -> Response:
        found = self.memberships.get((call.path["tenant_id"], call.path["user_id"]))
        if found is not None and found["status"] == "invited":
            self.add_member(found["tenant"]["slug"], found["user_id"], roles=found["roles"])
        return self._read_membership(call)

    def _list_operators(self, call: Call) -> Response:
        return JSONResponse({"items": [one for one in self.memberships.values() if "system" in one["roles"]]})

    def _add_operator(self, call: Call) -> Response:
        found = self.memberships.get((call.body["tenant_id"], call.path["user_id"]))
        if found is None or found["status"] != "active":
            return problem(404, "member_not_found")
        roles = sorted({*found["roles"], "system"})
        return JSONResponse(self.add_member(found["tenant"]["slug"], found["user_id"], roles=roles))

    def _remove_operator(self, call: Call) -> Response:
        for (_, user_id), found in list(self.memberships.items()):
            if user_id == call.path["user_id"] and "system" in found["roles"]:
                roles = [role for role in found["roles"] if role != "system"]
                self.add_member(found["tenant"]["slug"], user_id, roles=roles)
        return Response(status_code=204)

    def _find_invitation(self, call: Call) -> Response:
        found = self.invitations.get(call.body["token"])
        return JSONResponse(found) if found else problem(404, "invitation_not_found")

    def _accept_invitation(self, call: Call) -> Response:
        offer, user_id = self.invitations.get(call.body["token"]), call.body["user_id"]
        if offer is None or offer["email"].lower() != call.body["email"].lower():
            return problem(404, "invitation_not_found")
        if (offer["tenant"]["id"], user_id) in self.memberships:
            return problem(409, "already_member")
        del self.invitations[call.body["token"]]
        return JSONResponse(self.add_member(offer["tenant"]["slug"], user_id, roles=offer["roles"]))

    def _read_file(self, call: Call) -> Response:
        found = self._own_file(call)
        return JSONResponse(found.about) if found else problem(404, "not_found")

    def _read_content(self, call: Call) -> Response:
        found = self._own_file(call)
        return Response(found.content, media_type=found.about["content_type"]) if found else problem(404, "not_found")

    def _own_file(self, call: Call) -> StoredFile | None:
        found = self.files.get(call.path["file_id"])
        return found if found and found.about["owner_id"] == str(call.person.user_id) else None


def _now() -> str:
    return datetime.now(UTC).isoformat()
