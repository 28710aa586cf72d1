"""Identifiers: UUIDv7, made by the application, so that rows sort by the time they were made."""

from uuid import UUID

import uuid_utils


def new_id() -> UUID:
    """A new UUIDv7 (RFC 9562, 5.7) as a standard-library UUID."""
    return UUID(int=uuid_utils.uuid7().int)
