"""Every id in every path, called by the admin of another tenant: 404, found from the OpenAPI document itself."""

import time
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from shared.testing import People

pytestmark = pytest.mark.usefixtures("acme", "globex")


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "{" in path and path.startswith("/api/")
    ]


def example(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    """The operation's own example of a body; None where it takes none."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    found: dict[str, Any] = schema["example"]
    return found


async def test_every_id_of_another_tenant_is_404(app: FastAPI, client: httpx2.AsyncClient, as_user: People) -> None:
    ann = as_user("ann", roles=["admin"])
    uploaded = await client.post("/api/v1/files", files={"file": ("a.txt", b"words")}, headers=ann)
    invitations = f"/api/v1/tenants/{as_user.tenant_id('acme')}/invitations"
    invited = await client.post(invitations, json={"email": "cy@example.com", "roles": ["user"]}, headers=ann)
    post = {"title": "Ahoy", "content": "Words.", "status": "published"}
    posted = await client.post("/api/v1/posts", json=post, headers=ann)
    report = {"subject_type": "post", "subject_id": posted.json()["id"], "reason": "Words."}
    reported = await client.post("/api/v1/moderation/reports", json=report, headers=as_user("bob"))
    ids = {
        "tenant_id": as_user.tenant_id("acme"),
        "user_id": as_user.id("bob"),
        "file_id": uploaded.json()["id"],
        "invitation_id": invited.json()["id"],
        "post_id": posted.json()["id"],
        "report_id": reported.json()["id"],
    }
    gil = as_user.principal("gil", tenant="globex", roles=["admin"])
    recent = as_user.headers(as_user.signer("gateway").forward(replace(gil, auth_time=int(time.time())), "users"))
    document = app.openapi()
    called = operations(document)
    assert len(called) >= 12
    for method, path, operation in called:
        reply = await client.request(
            method,
            path.format(**ids),
            json=example(document, operation),
            headers=recent,
        )
        assert reply.status_code == 404, (method, path, reply.text)
    assert (await client.get(f"/api/v1/files/{ids['file_id']}/content", headers=ann)).content == b"words"
