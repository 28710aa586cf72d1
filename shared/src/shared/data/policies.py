"""Row-level security: one helper writes a tenanted table's policies, the catalogue proves them for every table."""

from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.data.models import Base, Global, Placed, Tenanted
from shared.data.roles import role_name

if TYPE_CHECKING:  # serving processes import this module, and only migrations Alembic
    from alembic.operations import Operations

TRIGGERS: Final = ("placed_delete", "placed_insert", "placed_update")
"""Those of every placed table (shared/data/placement)."""
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


_PASSES_BY = text(r"""
    SELECT EXISTS (
        SELECT FROM pg_class
        WHERE (relnamespace = 'public'::regnamespace OR relnamespace::regnamespace::text LIKE 'tenant\_%')
          AND relkind IN ('r', 'p') AND pg_has_role(session_user, relowner, 'MEMBER')
    ) OR EXISTS (
        SELECT FROM pg_roles WHERE rolname IN (session_user, current_user) AND (rolsuper OR rolbypassrls)
    )
""")


async def passes_by(connection: AsyncConnection) -> bool:
    """Whether the connection's login or role could go around row-level security: as owner, superuser or BYPASSRLS."""
    return bool(await connection.scalar(_PASSES_BY))


_TABLES = text(r"""
    SELECT n.nspname AS home, c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS secured,
           pg_get_userbyid(c.relowner) AS owner,
           ARRAY(SELECT p.polname::text FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname) AS policies,
           ARRAY(SELECT t.tgname::text FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname LIKE 'placed\_%'
                 AND t.tgenabled = 'O' ORDER BY t.tgname) AS follows
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname = 'public' OR n.nspname LIKE 'tenant\_%') AND c.relkind IN ('r', 'p')
      AND c.relname <> 'alembic_version'
    ORDER BY n.nspname, c.relname
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
        errors += (f"{row.home}.{error}" for error in _table_errors(row, kinds.get(row.name), fleet_tables))
    return errors


def _table_errors(row: Row[Any], model: type | None, fleet_tables: frozenset[str]) -> list[str]:
    if model is None:
        return [f"{row.name} has no model"]
    if row.home != "public" and not issubclass(model, Placed):
        return [f"{row.name} is not Placed: make it in a part of the migration that is for @shared_tables"]
    if issubclass(model, Global):
        return [f"{row.name} is Global and has policies"] if row.policies else []
    if not issubclass(model, Tenanted):
        return [f"{row.name} is neither Tenanted nor Global"]
    wanted = ["fleet", "owner", "tenant"] if row.name in fleet_tables else ["owner", "tenant"]
    errors = [] if row.secured else [f"{row.name}: row-level security is not enabled and forced"]
    if row.policies != wanted:
        errors.append(f"{row.name} has the policies {row.policies}, not {wanted}")
    if issubclass(model, Placed) and tuple(row.follows) != TRIGGERS:
        errors.append(f"{row.name} is Placed and loses writes when its tenant moves: follow_writes in its migration")
    return errors
