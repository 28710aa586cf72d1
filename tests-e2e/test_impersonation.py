"""An operator acts as a person through the gateway; the person sees it and ends it, everywhere within two seconds."""

from people import Person, Town

from shared.testing import eventually

REASON = "Ticket 4711: the upload fails."

NEVER = [
    ("POST", "/auth/password"),
    ("GET", "/auth/sessions"),
    ("POST", "/auth/impersonate"),
    ("GET", "/auth/mfa"),
    ("POST", "/auth/api-keys"),
    ("GET", "/oauth2/userinfo"),
    ("GET", "/oauth2/consents"),
    ("POST", "/oauth2/clients"),
]


async def acting_as(operator: Person, person: Person) -> Person:
    """The person, as the operator acts as them."""
    body = {"user_id": person.id, "tenant": person.tenant, "reason": REASON}
    tokens = (await operator.post("/auth/impersonate", 201, json=body)).json()
    return Person(person.town, person.username, person.id, person.tenant, person.tenant_id, 0, tokens)


async def test_an_operator_acts_as_a_person_until_they_end_it(town: Town) -> None:
    operator, ann = await town.operator(), await town.founder()
    await ann.call("PATCH", "/api/v1/profile", 200, json={"full_name": "Ann of the test"})
    acting = await acting_as(operator, ann)
    assert (await acting.get("/api/v1/profile")).json()["full_name"] == "Ann of the test"
    assert (await acting.get("/auth/me")).json()["impersonator_id"] == operator.id
    for service in ("/api/v1/rooms", "/api/v1/jobs", "/api/v1/users"):
        await acting.get(service)
    async with acting.socket() as socket:
        for method, path in NEVER:
            reply = await acting.call(method, path, 403, **({} if method == "GET" else {"json": {}}))
            assert reply.json()["code"] == "impersonation_refused", path

        sessions = {one["id"]: one for one in await ann.all_of("/auth/sessions")}
        shown = sessions[acting.tokens["session_id"]]["impersonation"]
        assert (shown["operator"], shown["reason"]) == ({"id": operator.id, "username": operator.username}, REASON)
        assert [one["id"] for one in sessions.values() if one["impersonation"]] == [acting.tokens["session_id"]]
        audit = await ann.all_of("/auth/audit", kind="impersonation_started")
        assert [(one["actor_id"], one["details"]["reason"]) for one in audit] == [(operator.id, REASON)]

        await ann.call("DELETE", f"/auth/sessions/{acting.tokens['session_id']}", 204)
        await eventually(acting.refused, within_s=2, saying="the operator is refused everywhere")
        assert await socket.closed(within_s=2) == 4001
    await ann.get("/api/v1/profile")
    await operator.get("/auth/me")


async def test_an_operator_ends_it_and_it_ends_with_their_own_session(town: Town) -> None:
    operator, ann = await town.operator(), await town.founder()
    by_token, by_operator = [await acting_as(operator, ann) for _ in range(2)]
    await by_token.post("/auth/logout", 204)
    await eventually(by_token.refused, within_s=2, saying="the token is refused everywhere")
    ended = await operator.call("DELETE", "/auth/impersonate", 200)
    assert ended.json()["sessions_ended"] >= 1
    await eventually(by_operator.refused, within_s=2, saying="the other token is refused everywhere")

    by_session = await acting_as(operator, ann)
    await operator.post("/auth/logout", 204)
    await eventually(by_session.refused, within_s=2, saying="it ends with the operator's session")
    assert not await ann.refused()
