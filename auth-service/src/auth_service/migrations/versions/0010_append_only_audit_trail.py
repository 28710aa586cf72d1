"""The audit trail becomes append-only and hash-chained.

The application may insert events, set the columns of the chain once, and wipe what an erasure wipes; a function of the
owner deletes what has expired. The release before can go on writing; its own deletion of old events is refused.
"""

import sqlalchemy as sa
from alembic import op

from shared.data.roles import role_name

revision = "0010"
down_revision = "0009"

_APP, _FLEET = role_name("auth", "app"), role_name("auth", "fleet")
_TIME = sa.DateTime(timezone=True)
_SALT = sa.text("sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))")  # 244 random bits
_INSERTED = "id, kind, account_id, actor_id, session_id, tenant_id, address, details"  # the time and salt are defaults

_GUARD = """
    CREATE FUNCTION guard_security_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (NEW.id, NEW.kind, NEW.account_id, NEW.actor_id, NEW.session_id, NEW.tenant_id, NEW.created_at)
               IS DISTINCT FROM
           (OLD.id, OLD.kind, OLD.account_id, OLD.actor_id, OLD.session_id, OLD.tenant_id, OLD.created_at)
        OR OLD.content_hash IS NOT NULL AND NEW.content_hash IS DISTINCT FROM OLD.content_hash
        OR OLD.seq IS NOT NULL AND (NEW.seq, NEW.chain_hash) IS DISTINCT FROM (OLD.seq, OLD.chain_hash)
        OR (NEW.address, NEW.details, NEW.salt) IS DISTINCT FROM (OLD.address, OLD.details, OLD.salt)
           AND NOT (NEW.address IS NULL AND NEW.details = '{}' AND NEW.salt IS NULL AND NEW.content_hash IS NOT NULL)
        THEN
            RAISE EXCEPTION 'security events are append-only' USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END $$
"""

# In order, and so that the rest still verifies: the last deleted event becomes the checkpoint. An application that is
# taken over cannot delete what happened recently.
_PRUNE = """
    CREATE FUNCTION prune_security_events(kept_days integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DECLARE
        event record;
        last_seq bigint;
        last_hash bytea;
        deleted bigint;
    BEGIN
        IF kept_days < 30 THEN
            RAISE EXCEPTION 'security events are kept for 30 days at least';
        END IF;
        PERFORM FROM audit_chain FOR UPDATE;
        FOR event IN
            SELECT e.seq, e.chain_hash, e.created_at FROM security_events e
            WHERE e.seq IS NOT NULL ORDER BY e.seq LIMIT 10000
        LOOP
            EXIT WHEN event.created_at >= now() - make_interval(days => kept_days);
            last_seq := event.seq;
            last_hash := event.chain_hash;
        END LOOP;
        IF last_seq IS NULL THEN
            RETURN 0;
        END IF;
        DELETE FROM security_events WHERE seq <= last_seq;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        UPDATE audit_chain SET checkpoint_seq = last_seq, checkpoint_hash = last_hash;
        RETURN deleted;
    END $$
"""


def upgrade() -> None:
    _columns()
    _chain()
    op.execute(_GUARD)
    op.execute(
        "CREATE TRIGGER guard_security_event BEFORE UPDATE ON security_events"
        " FOR EACH ROW EXECUTE FUNCTION guard_security_event()"
    )
    op.execute(_PRUNE)
    op.execute(f"REVOKE ALL ON security_events, audit_chain FROM {_APP}, {_FLEET}")
    op.execute(f"GRANT SELECT ON security_events, audit_chain TO {_APP}")
    op.execute(f"GRANT INSERT ({_INSERTED}) ON security_events TO {_APP}")
    op.execute(f"GRANT UPDATE (seq, content_hash, chain_hash, address, details, salt) ON security_events TO {_APP}")
    op.execute(f"GRANT UPDATE (head_seq, head_hash, exported_at) ON audit_chain TO {_APP}")
    op.execute("REVOKE ALL ON FUNCTION prune_security_events(integer) FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION prune_security_events(integer) TO {_APP}")


def _columns() -> None:
    table = "security_events"
    op.add_column(table, sa.Column("actor_id", sa.Uuid(), nullable=True))
    op.add_column(table, sa.Column("salt", sa.LargeBinary(), server_default=_SALT, nullable=True))
    op.add_column(table, sa.Column("seq", sa.BigInteger(), nullable=True))
    op.add_column(table, sa.Column("content_hash", sa.LargeBinary(), nullable=True))
    op.add_column(table, sa.Column("chain_hash", sa.LargeBinary(), nullable=True))
    op.create_index("ix_security_events_actor_id", table, ["actor_id"])
    op.create_index("ix_security_events_session_id", table, ["session_id"])
    op.create_index("ix_security_events_tenant_id_created_at", table, ["tenant_id", "created_at"])
    op.create_index("uq_security_events_seq", table, ["seq"], unique=True)
    op.create_index(
        "ix_security_events_created_at_unchained",
        table,
        ["created_at", "id"],
        postgresql_where=sa.text("seq IS NULL"),
    )


def _chain() -> None:
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.SmallInteger(), nullable=False),
        sa.Column("head_seq", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint_seq", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_hash", sa.LargeBinary(), nullable=False),
        sa.Column("exported_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_chain"),
        sa.CheckConstraint("id = 1", name="ck_audit_chain_one_row"),
    )
    zeros = "decode(repeat('00', 32), 'hex')"
    op.execute(f"INSERT INTO audit_chain VALUES (1, 0, {zeros}, 0, {zeros}, NULL)")


def downgrade() -> None:
    op.execute("DROP TRIGGER guard_security_event ON security_events")
    op.execute("DROP FUNCTION guard_security_event()")
    op.execute("DROP FUNCTION prune_security_events(integer)")
    op.drop_table("audit_chain")
    for column in ("chain_hash", "content_hash", "seq", "salt", "actor_id"):
        op.drop_column("security_events", column)
    op.drop_index("ix_security_events_session_id", "security_events")
    op.drop_index("ix_security_events_tenant_id_created_at", "security_events")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON security_events TO {_APP}, {_FLEET}")
