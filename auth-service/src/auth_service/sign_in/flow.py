"""Signing in, in steps that every way of signing in shares.

1. Identify the account by a proof: a password here; other slices bring their own.
2. Ask for the second factor if the account has one (second_factor.py).
3. Choose the tenant, which may require a second factor of its members.
4. Open the session, which records when and how the person proved who they are.

Hashing and calls to users-service are between the transactions, so that no connection waits for them.
"""

from dataclasses import dataclass
from typing import Final

from auth_service.accounts import models as accounts
from auth_service.accounts.models import ACTIVE, DEACTIVATED, Account, by_identifier
from auth_service.accounts.passwords import HashingBusy, Passwords
from auth_service.audit import service as audit
from auth_service.memberships.models import TenantMembership
from auth_service.mfa import passkeys
from auth_service.mfa.passkeys import Credential
from auth_service.mfa.service import Factors, Proof, methods_of
from auth_service.scopes.service import ScopeInvalid, granted
from auth_service.sessions import service as sessions
from auth_service.sessions.models import CLIENT_ID
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.password_check import refuse, verify_password
from auth_service.sign_in.second_factor import SecondFactor
from auth_service.sign_in.service import (
    AccountDeactivated,
    EmailUnverified,
    PasskeyRefused,
    SignInRefused,
    one_name,
)
from auth_service.sign_in.tenant_choice import TenantChoice
from auth_service.tenant_settings import is_too_old, lacks_second_factor, settings_of
from shared.data.database import Database
from shared.identity import Principal
from shared.identity.authentication import AAL2, MFA, PWD, Authentication
from shared.problems import InsufficientUserAuthentication, InvalidToken

_PROVABLE: Final = (ACTIVE, DEACTIVATED)
"""The accounts whose person can prove who they are; only an active one opens a session."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a sign-in comes from, as the session list and the audit trail show it."""

    address: str
    device: str | None


@dataclass(frozen=True)
class SignIn:
    database: Database
    passwords: Passwords
    tenants: TenantChoice
    tokens: TokenMaker
    second_factor: SecondFactor
    settings: AuthSettings
    visitor: Visitor

    async def with_password(self, identifier: str, password: str, choices: Choices) -> Tokens:
        """A new session of the person whose username or email and password these are.

        Raises what `by_password` and `complete` raise.
        """
        one_name(choices.tenant, choices.tenant_beside)
        account = await self.by_password(identifier, password)
        return await self.complete(account, Authentication(frozenset({PWD})), choices)

    async def by_password(self, identifier: str, password: str) -> Account:
        """The account whose username or email and password these are: the first step.

        Raises SignInRefused, SignInThrottled, HashingBusy, EmailUnverified.
        """
        async with self.database.transaction() as db:
            account = await by_identifier(db, identifier)
        stored = account.password_hash if account is not None and account.status in _PROVABLE else None
        counters = throttle.counters_of(
            identifier, account.id if account else None, self.visitor.address, self.settings
        )
        limits = self.settings.sign_in
        form = await verify_password(self.database, self.passwords, password, stored, counters, limits)
        if form is None or account is None:
            await refuse(self.database, account, self.visitor.address)
        account.password_hash = await self._renewed_hash(account, form)
        await self._check_email(account)
        return account

    async def with_passkey(self, credential: Credential, choices: Choices) -> Tokens:
        """A new session of the person whose passkey answered a challenge. Raises PasskeyRefused, EmailUnverified.

        And what `complete` raises. The passkey is two factors: the device, and its check of the person.
        """
        async with self.database.transaction() as db:
            factors = Factors(db, self.second_factor.keyring, self.settings)
            passkey = await passkeys.accept(db, factors.relying_party, credential, "sign_in", None)
            account = await accounts.find_account(db, passkey.account_id) if passkey else None
            if passkey is None or account is None or account.status not in _PROVABLE:
                account_id = account.id if account else None
                audit.record(
                    db,
                    "sign_in_refused",
                    account_id=account_id,
                    address=self.visitor.address,
                    reason="passkey_refused",
                )
                raise PasskeyRefused
        await self._check_email(account)
        return await self.complete(account, Authentication(methods_of(passkey) | {MFA}), choices)

    async def with_second_factor(self, mfa_token: str, proof: Proof) -> tuple[Tokens, Choices]:
        """The session for which a second factor was asked, and what was chosen for it at the first step.

        Raises MfaTokenInvalid, SecondFactorRefused, SignInThrottled, and what `complete` raises.
        """
        verified = await self.second_factor.verify(mfa_token, proof)
        return await self.complete(verified.account, verified.authentication, verified.choices), verified.choices

    async def complete(self, account: Account, authentication: Authentication, choices: Choices) -> Tokens:
        """A new session of a person who was identified: every step after the first.

        Raises AccountDeactivated, MfaRequired, TenantContradiction, ScopeInvalid, SignInRefused if the account is no
        longer active, and what choosing a tenant raises.
        """
        named = one_name(choices.tenant, choices.tenant_beside)
        if account.status == DEACTIVATED:
            await self._record_refusal(account, "account_deactivated")
            raise AccountDeactivated
        await self.second_factor.require(account, authentication, choices)
        member = await self.tenants.membership_for(account, named, choices.tenant_beside)
        if lacks_second_factor(authentication.methods, member.tenant, self.settings):
            await self.second_factor.require_enrolment(account, authentication, choices)
        return await self._open(account, member, authentication, choices, by=None)

    async def in_tenant(self, user: Principal, named_tenant: str) -> Tokens:
        """A new session of a signed-in person in another of their tenants.

        Raises InvalidToken; InsufficientUserAuthentication if the tenant requires a second factor, or a newer sign-in.
        """
        async with self.database.transaction() as db:
            account = await accounts.find_account(db, user.user_id)
        if account is None:
            raise InvalidToken
        member = await self.tenants.membership_for(account, named_tenant)
        return await self._open(account, member, Authentication(user.amr), Choices(), by=user)

    async def _open(
        self,
        account: Account,
        member: TenantMembership,
        authentication: Authentication,
        choices: Choices,
        *,
        by: Principal | None,
    ) -> Tokens:
        limited_to = choices.limited_to
        if limited_to is not None and not granted(member.membership.roles, limited_to):
            raise ScopeInvalid
        async with self.database.transaction(member.tenant.id) as db:
            opened = await sessions.open_session(
                db,
                account.id,
                member.tenant.id,
                by=by,
                verified_hash=account.password_hash if PWD in authentication.methods else None,
                client_id=CLIENT_ID,
                limited_to=limited_to,
                authentication=authentication,
                remembered=choices.remember_me,
                provider=choices.provider,
                device=self.visitor.device,
                address=self.visitor.address,
            )
            if opened is None:  # no longer active, or with another password
                raise SignInRefused
            if lacks_second_factor(opened[0].amr, member.tenant, self.settings):
                raise InsufficientUserAuthentication(acr=AAL2)
            if by is not None and is_too_old(opened[0].auth_time, member.tenant, self.settings):
                raise InsufficientUserAuthentication(max_age_s=settings_of(member.tenant, self.settings).max_ttl_s)
            return self.tokens.make(opened[1], opened[0], member)

    async def _check_email(self, account: Account) -> None:
        """Raises EmailUnverified."""
        if account.email is not None:
            return
        await self._record_refusal(account, "email_unverified")
        raise EmailUnverified

    async def _record_refusal(self, account: Account, reason: str) -> None:
        async with self.database.transaction() as db:
            audit.record(db, "sign_in_refused", account_id=account.id, address=self.visitor.address, reason=reason)

    async def _renewed_hash(self, account: Account, form: str) -> str:
        """The stored hash, a new one if it was outdated; `form` is the form of the password that matched it."""
        if not self.passwords.is_outdated(account.password_hash, form):
            return account.password_hash
        try:
            new_hash = await self.passwords.hash(form)
        except HashingBusy:  # not needed to sign in: the next sign-in tries again
            return account.password_hash
        async with self.database.transaction() as db:
            if await accounts.set_password_hash(db, account.id, account.password_hash, new_hash):
                return new_hash
            stored = await accounts.find_account(db, account.id)
        # Another sign-in renewed it, or the password was changed: the hash says which.
        renewed = stored is not None and await self.passwords.matching_form(stored.password_hash, form) is not None
        return stored.password_hash if stored is not None and renewed else account.password_hash
