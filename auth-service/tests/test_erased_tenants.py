"""What a tenant has registered here goes once users-service has erased it; what others have stays."""

from uuid import UUID

from auth_service.maintenance import prunes
from auth_service.memberships import service as memberships
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.ids import new_id
from shared.resources import Resources

from .door import Door, claims_of
from .oauth import registered


async def test_clients_consents_keys_and_providers_go(door: Door, resources: Resources) -> None:
    tenants = {}
    for name, slug in (("ann", "acme"), ("gil", "globex")):
        admin = await door.signed_up(name, slug=slug)
        tenants[slug] = tenant = claims_of(admin)["tenant"]
        client = await registered(door, admin)
        key = {"name": "Importer", "scopes": ["jobs:read"]}
        assert (await door.client.post("/auth/api-keys", json=key, headers=door.bearer(admin))).status_code == 201
        ids = {"id": new_id(), "tenant": UUID(tenant), "account": UUID(claims_of(admin)["sub"])}
        await door.run(
            "INSERT INTO oauth_consents (id, account_id, client_id, tenant_id, scopes)"
            " VALUES (:id, :account, :client, :tenant, '{openid}')",
            **ids,
            client=UUID(client.id),
        )
        await door.run(
            "INSERT INTO identity_providers (id, tenant_id, name, issuer, client_id, scopes)"
            " VALUES (:id, :tenant, 'Workforce', :issuer, 'flotilla', '{openid}')",
            id=ids["id"],
            tenant=ids["tenant"],
            issuer=f"https://{slug}.example",
        )
    database, settings = resources.get(Database), resources.get(AuthSettings)

    async def maintain() -> None:
        for prune in prunes(settings):
            async with database.transaction() as db:
                await prune(db)

    tables = ("oauth_clients", "oauth_consents", "api_keys", "identity_providers")
    await maintain()
    for table in tables:
        assert len(await door.rows(f"SELECT 1 FROM {table}")) == 2, table  # noqa: S608 - named above
    async with database.transaction() as db:
        await memberships.forget_tenant(db, UUID(tenants["acme"]))
    await maintain()
    for table in tables:
        left = await door.rows(f"SELECT tenant_id::text AS tenant FROM {table}")  # noqa: S608 - named above
        assert [row["tenant"] for row in left] == [tenants["globex"]], table
