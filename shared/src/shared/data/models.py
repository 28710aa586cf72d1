"""The declarative bases: every table is `Tenanted` (or `Placed`) or `Global`; the catalogue test refuses any other."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """One process is one service, so one metadata holds that service's tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        UUID: Uuid(),
        datetime: DateTime(timezone=True),
        str: Text(),
        int: BigInteger(),
        dict[str, Any]: JSONB(),
    }


class Global(Base):
    """A table that belongs to the fleet and not to one tenant: accounts, keys, outbox, inbox."""

    __abstract__ = True


class Tenanted(Base):
    """A table whose every row belongs to one tenant, guarded by row-level security (data/policies.py)."""

    __abstract__ = True

    tenant_id: Mapped[UUID] = mapped_column(sort_order=-1)


class Placed(Tenanted):
    """A tenanted table whose rows are where the tenant's data is placed; it references and joins only `Placed` tables.

    The shared tables of the fleet's tenants may be in another database than these rows.
    """

    __abstract__ = True
