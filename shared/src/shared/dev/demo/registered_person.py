"""A person for a service that runs alone, so that `make token USER=ann` shows something."""

import json
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from shared.clients import ServiceClient
from shared.dev.demo.demo_tenant import Demo
from shared.dev.demo.development_tokens import SANDBOX, tenant_id, user_id
from shared.dev.launcher.running_fleet import Fleet
from shared.identity.tokens import Signer

_USERNAME: Final = "ann"
_GRANT: Final = "registrations:write"


class _Tenant(BaseModel):
    id: UUID
    slug: str
    name: str


class _Registration(BaseModel):
    username: str
    tenant: _Tenant


async def register_alone(run: Fleet) -> None:
    """Register ann with a tenant of her own, as registration does, if this service stores people. A repeat is harmless.

    After the demo walk its people exist already.
    """
    service = run.chosen[0]
    contract = run.plan.root / service.folder / "contracts" / "grants.json"
    offered = json.loads(contract.read_text(encoding="utf-8")) if contract.is_file() else {}
    caller = next((one for one in run.services.values() if _GRANT in one.grants), None)
    if _GRANT not in offered or caller is None or Demo.of(run.around.folder).walked:
        return
    signer = Signer.from_file(caller.name, run.around.folder.keys / f"{caller.name}.pem")
    client = ServiceClient(f"http://127.0.0.1:{run.around.ports[service.name]}", service.name, signer)
    body = _Registration(username=_USERNAME, tenant=_Tenant(id=tenant_id(SANDBOX), slug=SANDBOX, name="Sandbox"))
    try:
        await client.send("PUT", f"/internal/registrations/{user_id(_USERNAME)}", body)
    finally:
        await client.close()
