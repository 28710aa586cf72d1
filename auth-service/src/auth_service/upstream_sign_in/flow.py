"""A visit to an upstream issuer, from the browser's departure to its return.

1. `start`: a ceremony is stored, and the browser leaves with its `state`, `nonce` and PKCE challenge.
2. `finish`: the ceremony is spent, the issuer's answer is verified, and the identity is linked, signed in or signed up.

The issuer is asked between the transactions, so that no connection waits for it. An email never finds an account: an
identity signs in to the account that its person has linked it to.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from auth_service.accounts.models import NO_PASSWORD, PENDING, Account
from auth_service.accounts.service import EmailTaken, UsernameTaken
from auth_service.audit import service as audit
from auth_service.identities import service as identities
from auth_service.identity_providers import exchange
from auth_service.identity_providers import service as providers
from auth_service.identity_providers.exchange import UpstreamPerson
from auth_service.identity_providers.issuers import Issuer, Issuers, UpstreamFailed
from auth_service.identity_providers.models import IdentityProvider
from auth_service.keyring import Keyring
from auth_service.mails.notices import notify
from auth_service.mfa.service import require_step_up
from auth_service.registration import service as registrations
from auth_service.registration.flow import Registration
from auth_service.registration.service import RegistrationClosed
from auth_service.sessions.models import SessionProvider
from auth_service.sessions.service import SessionConfined
from auth_service.settings import AuthSettings
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.flow import SignIn
from auth_service.sign_in.service import MfaRequired, SignInRefused
from auth_service.upstream_sign_in import service
from auth_service.upstream_sign_in.models import UpstreamCeremony
from auth_service.upstream_sign_in.service import CeremonyInvalid, LinkNeeded, UpstreamDenied, UpstreamUnusable
from auth_service.upstream_sign_in.usernames import candidates
from shared.data.database import Database
from shared.email_addresses import domain_errors
from shared.identity import Principal
from shared.identity.authentication import FED, Authentication
from shared.outbound import Outbound

log = structlog.get_logger(__name__)

_AUTHENTICATION: Final = Authentication(frozenset({FED}))


@dataclass(frozen=True, slots=True)
class IssuerAnswer:
    """What the issuer sent the browser back with (RFC 6749, section 4.1.2; RFC 9207)."""

    state: str
    code: str | None
    iss: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """A ceremony's end: the session that it opened, None if it linked an identity; and where the browser goes.

    With `required` there is no session yet: the person gives a second factor first.
    """

    session_id: UUID | None
    continued: str
    required: MfaRequired | None = None


@dataclass(frozen=True)
class UpstreamSignIn:
    database: Database
    issuers: Issuers
    outbound: Outbound
    keyring: Keyring
    sign_in: SignIn
    registration: Registration
    settings: AuthSettings
    address: str

    async def start(self, provider_id: UUID, browser: str, *, continued: str = "", tenant: str | None = None) -> str:
        """Where the browser is sent to sign in. Raises IdentityProviderNotFound, UpstreamUnusable."""
        async with self.database.transaction() as db:
            provider = await providers.enabled(db, provider_id)
        issuer = await self._issuer(provider)
        async with self.database.transaction() as db:
            state = await service.begin(db, provider.id, browser, continued=continued, tenant=tenant)
        return self._departure(provider, issuer, browser, state)

    async def linkable(self, provider_id: UUID, user: Principal) -> tuple[IdentityProvider, Issuer]:
        """A provider at which a signed-in person may link who they are there to their account.

        They have confirmed recently that it is them: a link is a way to sign in. Raises InsufficientUserAuthentication;
        IdentityProviderNotFound, also for another tenant's provider; UpstreamUnusable.
        """
        async with self.database.transaction() as db:
            await require_step_up(db, user)
            provider = await providers.enabled(db, provider_id)
        if provider.tenant_id not in (None, user.tenant_id):
            raise providers.IdentityProviderNotFound
        return provider, await self._issuer(provider)

    async def start_link(self, provider_id: UUID, browser: str, user: Principal, *, continued: str = "") -> str:
        """Where the browser of the person is sent to link; `continued` is where it goes afterwards.

        Raises what `linkable` raises.
        """
        provider, issuer = await self.linkable(provider_id, user)
        async with self.database.transaction() as db:
            state = await service.begin(
                db,
                provider.id,
                browser,
                account_id=user.user_id,
                session_id=user.session_id,
                continued=continued,
            )
        return self._departure(provider, issuer, browser, state)

    async def finish(self, provider_id: UUID, browser: str, answer: IssuerAnswer) -> Finished:
        """Link the identity, or open a session of its account, which may be a new one.

        Raises CeremonyInvalid, UpstreamDenied, UpstreamUnusable, IdentityTaken, LinkNeeded, RegistrationClosed,
        RegistrationUnfinished, IdentityProviderNotFound, SessionConfined, and what opening a session raises.
        """
        async with self.database.transaction() as db:
            ceremony = await service.spend(db, provider_id, browser, answer.state)
            provider = await providers.enabled(db, provider_id)
        person = await self._person(provider, browser, answer)
        if ceremony.account_id is not None:
            await self._link(ceremony, ceremony.account_id, provider, person)
            return Finished(None, ceremony.continued)
        account = await self._account(provider, person)
        choices = Choices(
            tenant=str(provider.tenant_id) if provider.tenant_id else ceremony.tenant,
            provider=SessionProvider(provider.id, confines=provider.confines),
        )
        try:
            tokens = await self.sign_in.complete(account, _AUTHENTICATION, choices)
        except MfaRequired as required:
            if required.enrol and provider.confines:
                await self._check_enrolment(provider, account)
            return Finished(None, ceremony.continued, required)
        except SignInRefused:  # the account is not active
            raise UpstreamDenied from None
        return Finished(tokens.session_id, ceremony.continued)

    async def _check_enrolment(self, provider: IdentityProvider, account: Account) -> None:
        """Raises SessionConfined where a tenant's admins would lock the person out of the other ways to sign in."""
        async with self.database.transaction() as db:
            if not await identities.is_only_way_in(db, account, provider.id):
                raise SessionConfined

    async def _issuer(self, provider: IdentityProvider) -> Issuer:
        try:
            return await self.issuers.find(provider.issuer)
        except UpstreamFailed as failed:
            raise self._unusable(provider, failed) from None

    def _departure(self, provider: IdentityProvider, issuer: Issuer, browser: str, state: str) -> str:
        proof = service.proof_of(browser, state)
        client = providers.registration_of(provider, self.keyring, self.settings.public_url)
        return exchange.authorization_url(
            issuer, client, state=state, nonce=proof.nonce, code_challenge=service.code_challenge(proof)
        )

    async def _person(self, provider: IdentityProvider, browser: str, answer: IssuerAnswer) -> UpstreamPerson:
        """Who the issuer says has signed in there."""
        issuer = await self._issuer(provider)
        named = answer.iss
        if named != issuer.metadata.issuer and (named is not None or issuer.metadata.sends_iss):
            raise self._unusable(provider, UpstreamFailed("The answer is another issuer's (iss)."))  # RFC 9207
        if answer.code is None:
            raise UpstreamDenied
        client = providers.registration_of(provider, self.keyring, self.settings.public_url)
        proof = service.proof_of(browser, answer.state)
        try:
            return await exchange.redeem(self.outbound, issuer, client, answer.code, proof)
        except UpstreamFailed as failed:
            raise self._unusable(provider, failed) from None

    async def _link(
        self, ceremony: UpstreamCeremony, account_id: UUID, provider: IdentityProvider, person: UpstreamPerson
    ) -> None:
        async with self.database.transaction() as db:
            if not await service.may_link(db, ceremony):
                raise CeremonyInvalid
            account = await db.get(Account, account_id)
            if account is not None and await identities.link(db, account_id, provider, person, self.address):
                mails = self.sign_in.second_factor.mails
                notify(db, mails, self.settings, account, "identity_linked", issuer=provider.issuer)

    async def _account(self, provider: IdentityProvider, person: UpstreamPerson) -> Account:
        """The account that the identity is linked to, or a new one."""
        async with self.database.transaction() as db:
            identity = await identities.find(db, provider.id, person.subject)
            account = await db.get(Account, identity.account_id) if identity else None
            if identity is not None:
                await identities.used(db, identity.id)
        if account is None:
            return await self._signed_up(provider, person)
        if account.status == PENDING:
            return (await self.registration.finish(account)).account
        return account

    async def _signed_up(self, provider: IdentityProvider, person: UpstreamPerson) -> Account:
        email = person.email
        if email is not None and any(domain_errors(email, self.settings, "#/email")):
            email = None
        async with self.database.transaction(provider.tenant_id) as db:
            is_known = email is not None and await identities.is_email_known(db, provider, email)
            if is_known:
                audit.record(
                    db,
                    "sign_in_refused",
                    tenant_id=provider.tenant_id,
                    address=self.address,
                    reason="identity_not_linked",
                    provider_id=str(provider.id),
                )
        if is_known:
            raise LinkNeeded
        if not self.settings.people_may_register:
            raise RegistrationClosed
        account = await self._new_account(provider, person, email)
        return (await self.registration.finish(account)).account

    async def _new_account(self, provider: IdentityProvider, person: UpstreamPerson, email: str | None) -> Account:
        """The committed pending account with its identity.

        Only an operator's provider may say that an address is verified: a tenant's admin could claim any.
        """
        for username in candidates(person):
            try:
                async with self.database.transaction() as db:
                    account = await registrations.add_pending(
                        db,
                        username=username,
                        email=email,
                        trusted=person.email_verified and not provider.confines,
                        password_hash=NO_PASSWORD,
                        tenant=None,
                        joins=provider.tenant_id,
                    )
                    await identities.link(db, account.id, provider, person, self.address)
                    return account
            except UsernameTaken:
                continue
            except EmailTaken:  # in this moment
                raise LinkNeeded from None
        raise UsernameTaken

    def _unusable(self, provider: IdentityProvider, failed: UpstreamFailed) -> UpstreamUnusable:
        log.warning("upstream_sign_in_failed", provider_id=str(provider.id), reason=str(failed))
        return UpstreamUnusable()
