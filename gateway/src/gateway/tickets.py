"""Tickets: what stands for the bearer where a client cannot send one. auth-service knows whom each stands for."""

from shared.clients import ServiceClient
from shared.identity import Principal
from shared.problems import InvalidToken


class Tickets:
    """Redeems tickets at auth-service (`POST /internal/tickets/redeem`)."""

    def __init__(self, auth: ServiceClient) -> None:
        self._auth = auth

    async def __call__(self, ticket: str, path: str) -> Principal:
        """Whom the ticket for `path` stands for. Raises InvalidToken for one that is wrong, spent or expired."""
        reply = await self._auth.call("POST", "/internal/tickets/redeem", json={"ticket": ticket, "path": path})
        if reply.status_code != 200:
            raise InvalidToken("The ticket is wrong, spent or expired.")
        return Principal.from_claims(reply.json()["claims"])
