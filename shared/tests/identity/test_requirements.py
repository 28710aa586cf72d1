"""What operations require is read from their routes, and nothing that is unknown is served."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI

from shared.app import Service
from shared.identity.access import require_any_scope, require_grant, require_scopes
from shared.identity.principal import Principal
from shared.identity.requirements import UnknownRequirements, grants_of
from shared.settings import ServiceSettings

router = APIRouter(prefix="/internal", dependencies=[Depends(require_grant("revocations:read"))])


@router.get("/revocations")
async def revocations() -> None: ...


@router.put("/rooms/{room_id}", dependencies=[Depends(require_grant("rooms:close"))])
async def close() -> None: ...


@router.get("/rooms", dependencies=[Depends(require_scopes("chat:read", "rooms:read"))])
async def rooms(user: Annotated[Principal, Depends(require_any_scope("chat:write", "rooms:write"))]) -> None: ...


@pytest.fixture
def service() -> Service:
    return Service(name="notes", package="notes", settings=ServiceSettings, description="Notes.", routers=[router])


def test_grants_are_read_from_the_routes() -> None:
    app = FastAPI()
    app.include_router(router)
    assert grants_of(app.routes) == {
        "revocations:read": ["GET /internal/revocations", "GET /internal/rooms", "PUT /internal/rooms/{room_id}"],
        "rooms:close": ["PUT /internal/rooms/{room_id}"],
    }


def test_an_application_that_requires_what_is_not_listed_is_assembled_and_not_served(service: Service) -> None:
    settings = ServiceSettings(_env_file=None, environment="testing")
    assert "rooms:close" in grants_of(service.assemble(settings).routes)
    with pytest.raises(UnknownRequirements) as refused:
        service.create_app(settings)
    assert str(refused.value).splitlines()[1:] == [
        "  PUT /internal/rooms/{room_id} requires the grant rooms:close",
        "  GET /internal/rooms requires the scope rooms:read",
        "  GET /internal/rooms requires the scope rooms:write",
    ]
