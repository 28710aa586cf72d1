"""Row-level security: one helper writes a tenanted table's policies, the catalogue proves them for every table."""

from types import ModuleType
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.data.models import Base, Global, Tenanted
from shared.data.roles import role_name

if TYPE_CHECKING:  # serving processes import this module, and only migrations Alembic
    from alembic.operations import Operations

TENANT_MATCHES = "tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid"


def enable_tenancy(op: "Operations | ModuleType", table: str, *, service: str, fleet: bool = False) -> None:
    """Force row-level security on `table`: `_app` sees one tenant, `_owner` all, `_fleet` all only where asked for.

    `fleet=True` needs the table's name in the service's catalogue test, where a reviewer sees it.
    """
    app, owner = role_name(service, "app"), role_name(service, "owner")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY tenant ON {table} TO {app} USING ({TENANT_MATCHES}) WITH CHECK ({TENANT_MATCHES})")
    op.execute(f"CREATE POLICY owner ON {table} TO {owner} USING (true)")
    if fleet:
        op.execute(f"CREATE POLICY fleet ON {table} TO {role_name(service, 'fleet')} USING (true)")


_PASSES_BY = text("""
    SELECT EXISTS (
        SELECT FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
          AND pg_has_role(session_user, relowner, 'MEMBER')
    ) OR EXISTS (
        SELECT FROM pg_roles WHERE rolname IN (session_user, current_user) AND (rolsuper OR rolbypassrls)
    )
""")


async def passes_by(connection: AsyncConnection) -> bool:
    """Whether the connection's login or role could go around row-level security: as owner, superuser or BYPASSRLS."""
    return bool(await connection.scalar(_PASSES_BY))


_TABLES = text("""
    SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
           pg_get_userbyid(c.relowner) AS owner,
           ARRAY(SELECT p.polname::text FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname) AS policies
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname <> 'alembic_version'
""")
_ROLES = text("SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname LIKE 'flotilla%'")


async def catalogue_errors(connection: AsyncConnection, service: str, fleet_tables: frozenset[str]) -> list[str]:
    """What is wrong with the database's tables and roles, a sentence each; empty when the house's rules hold."""
    kinds = {mapper.local_table.name: mapper.class_ for mapper in Base.registry.mappers}  # type: ignore[attr-defined]  # every mapper here has a table
    errors = [
        f"{role.rolname} is a superuser or bypasses row-level security"
        for role in await connection.execute(_ROLES)
        if role.rolsuper or role.rolbypassrls
    ]
    for row in await connection.execute(_TABLES):
        if row.owner != role_name(service, "owner"):
            errors.append(f"{row.name} is owned by {row.owner}")
        errors += _table_errors(row.name, kinds.get(row.name), row.enabled and row.forced, row.policies, fleet_tables)
    return errors


def _table_errors(
    name: str, model: type | None, secured: bool, policies: list[str], fleet_tables: frozenset[str]
) -> list[str]:
    if model is None:
        return [f"{name} has no model"]
    if issubclass(model, Global):
        return [f"{name} is Global and has policies"] if policies else []
    if not issubclass(model, Tenanted):
        return [f"{name} is neither Tenanted nor Global"]
    wanted = ["fleet", "owner", "tenant"] if name in fleet_tables else ["owner", "tenant"]
    errors = [] if secured else [f"{name}: row-level security is not enabled and forced"]
    return errors if policies == wanted else [*errors, f"{name} has the policies {policies}, not {wanted}"]
