"""The rules of linked identities: only the account's own person links one, and the last way to sign in stays."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import NO_PASSWORD, Account, lock_account
from auth_service.audit import service as audit
from auth_service.identities.models import SUBJECT_KEY, Identity
from auth_service.identity_providers.exchange import UpstreamPerson
from auth_service.identity_providers.models import IdentityProvider
from auth_service.mails.notices import notify
from auth_service.mails.service import Mails
from auth_service.memberships.models import Membership
from auth_service.mfa.service import require_step_up
from auth_service.settings import AuthSettings
from shared.data.errors import violates
from shared.identity import Principal
from shared.problems import Conflict, NotFound
from shared.web.paging import ListQuery, by_cursor


class IdentityNotFound(NotFound):
    """The caller has no linked identity with this id."""

    status, title = 404, "No such identity"


class IdentityTaken(Conflict):
    """This person at the provider is linked to another account."""

    status, title = 409, "The identity belongs to another account"
    remedy = "Sign in with it, and unlink it there first."


class LastSignInMethod(Conflict):
    """Without this identity the account could no longer sign in."""

    status, title = 409, "This is the only way to sign in to the account"
    remedy = "Set a password by a mailed link, or link another identity first."


async def find(db: AsyncSession, provider_id: UUID, subject: str) -> Identity | None:
    """The linked identity; None if the person at the provider has no account here."""
    theirs = (Identity.provider_id == provider_id, Identity.subject == subject)
    return (await db.scalars(select(Identity).where(*theirs))).one_or_none()


async def link(
    db: AsyncSession, account_id: UUID, provider: IdentityProvider, person: UpstreamPerson, address: str
) -> bool:
    """Link the person at the provider to the account; False if they are linked already. Raises IdentityTaken."""
    known = await find(db, provider.id, person.subject)
    if known is not None and known.account_id != account_id:
        raise IdentityTaken
    if known is not None:
        return False
    db.add(Identity(account_id=account_id, provider_id=provider.id, subject=person.subject, email=person.email))
    try:
        await db.flush()
    except IntegrityError as error:
        if violates(error, SUBJECT_KEY):  # linked to another account in this moment
            raise IdentityTaken from None
        raise
    audit.record(
        db,
        "identity_linked",
        account_id=account_id,
        tenant_id=provider.tenant_id,
        address=address,
        provider_id=str(provider.id),
        issuer=provider.issuer,
    )
    return True


async def used(db: AsyncSession, identity_id: UUID) -> None:
    """Remember that the identity signed its person in."""
    if (identity := await db.get(Identity, identity_id)) is not None:
        identity.last_used_at = func.clock_timestamp()


async def is_email_known(db: AsyncSession, provider: IdentityProvider, email: str) -> bool:
    """Whether an account has the address, verified or not: its person signs in and links, nothing is guessed here.

    A tenant's provider is compared with the accounts of its members alone (the transaction is the tenant's): its admin
    could otherwise ask for any address whether it has an account.
    """
    same = or_(func.lower(Account.email) == email.lower(), func.lower(Account.unverified_email) == email.lower())
    rows = select(Account.id).where(same)
    if provider.tenant_id is not None:
        members = select(Membership.user_id).where(Membership.tenant_id == provider.tenant_id)
        rows = rows.where(Account.id.in_(members))
    return await db.scalar(rows.limit(1)) is not None


async def is_only_way_in(db: AsyncSession, account: Account, provider_id: UUID) -> bool:
    """Whether the account signs in by this provider alone: no password, no address for a link, no other provider."""
    if account.password_hash != NO_PASSWORD or account.email is not None:
        return False
    others = (Identity.account_id == account.id, Identity.provider_id != provider_id)
    return await db.scalar(select(Identity.id).where(*others).limit(1)) is None


async def page(
    db: AsyncSession, account_id: UUID, query: ListQuery
) -> tuple[Sequence[tuple[Identity, IdentityProvider]], str | None]:
    """The account's identities with their providers."""
    rows = select(Identity).where(Identity.account_id == account_id)
    found, next_cursor = await by_cursor(db, rows, query, {"created_at": Identity.created_at}, Identity.id)
    ids = {identity.provider_id for identity in found}
    providers = {
        provider.id: provider
        for provider in await db.scalars(select(IdentityProvider).where(IdentityProvider.id.in_(ids)))
    }
    return [(identity, providers[identity.provider_id]) for identity in found], next_cursor


async def own(db: AsyncSession, account_id: UUID, identity_id: UUID) -> tuple[Identity, IdentityProvider]:
    """One of the account's identities with its provider. Raises IdentityNotFound."""
    rows = select(Identity, IdentityProvider).join(IdentityProvider, IdentityProvider.id == Identity.provider_id)
    row = (await db.execute(rows.where(Identity.id == identity_id, Identity.account_id == account_id))).one_or_none()
    if row is None:
        raise IdentityNotFound
    return row[0], row[1]


async def unlink(
    db: AsyncSession, user: Principal, identity_id: UUID, mails: Mails, settings: AuthSettings, address: str
) -> None:
    """Remove one of the person's identities; they have confirmed recently that it is them, and are notified.

    Raises InsufficientUserAuthentication, IdentityNotFound, LastSignInMethod.
    """
    account = await lock_account(db, user.user_id)  # of two at once, the second sees the first
    await require_step_up(db, user)
    identity, provider = await own(db, user.user_id, identity_id)
    if account is None:
        raise IdentityNotFound
    if account.password_hash == NO_PASSWORD and not await _has_another(db, identity):
        raise LastSignInMethod
    await db.delete(identity)
    audit.record(db, "identity_unlinked", account_id=account.id, address=address, provider_id=str(provider.id))
    notify(db, mails, settings, account, "identity_unlinked", issuer=provider.issuer)


async def _has_another(db: AsyncSession, identity: Identity) -> bool:
    """Whether the account signs in to all of its tenants by another identity."""
    others = (
        Identity.account_id == identity.account_id,
        Identity.id != identity.id,
        IdentityProvider.disabled_at.is_(None),
        IdentityProvider.tenant_id.is_(None),
    )
    rows = select(Identity.id).join(IdentityProvider, IdentityProvider.id == Identity.provider_id).where(*others)
    return await db.scalar(rows.limit(1)) is not None
