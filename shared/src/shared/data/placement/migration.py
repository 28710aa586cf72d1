"""What migrations of a service with placed tables use.

A migration runs once for the shared tables, then again in each tenant's own schema. There, whatever concerns other
tables is left out by `@shared_tables`; the rest needs no condition, because names are looked up in that schema first.
"""

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Final

from shared.data.policies import enable_tenancy
from shared.data.roles import role_name

if TYPE_CHECKING:  # serving processes import this package, and only migrations Alembic
    from alembic.operations import Operations

TENANT_SCHEMA: Final = "tenant_schema"
"""The attribute of Alembic's configuration that names the schema in which a migration runs again."""

MOVED_SQLSTATE: Final = "FT001"

_ENTER_TENANT: Final = """
    CREATE FUNCTION public.enter_tenant(tenant uuid) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        found text;
    BEGIN
        PERFORM set_config('app.tenant_id', tenant::text, true);
        SELECT home INTO found FROM public.placements WHERE tenant_id = tenant;
        IF found <> 'public' THEN
            PERFORM set_config('search_path', quote_ident(found) || ', public', true);
        ELSIF current_setting('search_path') LIKE 'tenant_%' THEN  -- the transaction was in another tenant before
            PERFORM set_config('search_path', 'public', true);
        END IF;
    END $$
"""
# It runs after the statement: one that waits here while the tenant moves is refused, and its rows were never visible.
_PLACED_WRITE: Final = f"""
    CREATE FUNCTION public.placed_write() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        tenant uuid := NULLIF(current_setting('app.tenant_id', true), '')::uuid;
        place public.placements%ROWTYPE;
    BEGIN
        IF tenant IS NULL THEN  -- the owner: a migration, or the copy itself
            RETURN NULL;
        END IF;
        PERFORM pg_advisory_xact_lock_shared(public.placement_lock(tenant));
        SELECT * INTO place FROM public.placements WHERE tenant_id = tenant;
        IF coalesce(place.home, 'public') <> TG_TABLE_SCHEMA THEN
            RAISE EXCEPTION 'the tenant has moved' USING ERRCODE = '{MOVED_SQLSTATE}';
        END IF;
        IF place.phase = 'copying' THEN
            EXECUTE format(
                'INSERT INTO public.placement_changes (tenant_id, table_name, key)'
                ' SELECT $1, $2, to_jsonb(keys) FROM (SELECT %s FROM changed) keys', TG_ARGV[0]
            ) USING tenant, TG_TABLE_NAME::text;
        END IF;
        RETURN NULL;
    END $$
"""  # noqa: S608 - a constant
_PLACEMENT_LOCK: Final = """
    CREATE FUNCTION public.placement_lock(tenant uuid) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN hashtextextended('placement ' || tenant::text, 0)
"""
_CHANGED_ROWS: Final = {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}


def in_tenant_schema() -> bool:
    """Whether the migration runs again, in a tenant's own schema."""
    from alembic import context  # noqa: PLC0415 - as above

    return TENANT_SCHEMA in context.config.attributes


def shared_tables(step: Callable[[], None]) -> Callable[[], None]:
    """Run this part of a migration for the shared tables only."""

    @wraps(step)
    def run() -> None:
        if not in_tenant_schema():
            step()

    return run


def create_placement_tables(op: "Operations | ModuleType", *, service: str) -> None:
    """The mechanism's tables and functions; call it in a part that is for the shared tables only."""
    op.execute("""
        CREATE TABLE placements (
            tenant_id uuid NOT NULL CONSTRAINT pk_placements PRIMARY KEY,
            home text NOT NULL DEFAULT 'public',
            other text,
            phase text CONSTRAINT ck_placements_phase CHECK (phase IN ('copying', 'cleaning')),
            changed_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT ck_placements_other CHECK ((phase IS NULL) = (other IS NULL))
        )
    """)
    op.execute("""
        CREATE TABLE placement_changes (
            tenant_id uuid NOT NULL,
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_placement_changes PRIMARY KEY,
            table_name text NOT NULL,
            key jsonb NOT NULL
        )
    """)
    op.execute("CREATE INDEX ix_placement_changes_tenant_id ON placement_changes (tenant_id, id)")
    for table in ("placements", "placement_changes"):
        enable_tenancy(op, table, service=service)
    roles = ", ".join(role_name(service, role) for role in ("app", "fleet"))
    op.execute(f"REVOKE INSERT, UPDATE, DELETE ON placements FROM {roles}")  # the owner moves tenants
    for function in (_PLACEMENT_LOCK, _ENTER_TENANT, _PLACED_WRITE):
        op.execute(function)


def follow_writes(op: "Operations | ModuleType", table: str, *key: str) -> None:
    """Make a placed table one that can be moved; `key` is its primary key after tenant_id, and never changes."""
    columns = ", ".join(("tenant_id", *key))
    for event, rows in _CHANGED_ROWS.items():
        op.execute(
            f"CREATE TRIGGER placed_{event.lower()} AFTER {event} ON {table}"
            f" REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT"
            f" EXECUTE FUNCTION public.placed_write('{columns}')"
        )
