"""What the person does in the browser: enter the device's code, see who asks for what, allow or refuse it."""

from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.authorization.outcomes import Browser
from auth_service.clients.models import Client
from auth_service.consents import service as consents
from auth_service.device_authorization import service
from auth_service.device_authorization.models import DeviceCode
from auth_service.device_authorization.service import DeviceCodeUnknown, DeviceGuessesThrottled
from auth_service.memberships.models import TenantMembership
from auth_service.scopes.service import granted
from auth_service.sessions.service import SessionConfined
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.tenant_choice import TenantChoice
from auth_service.sign_in.throttle import SignInThrottled
from auth_service.tenant_settings import is_too_old, lacks_second_factor
from shared.data.database import Database
from shared.problems import Forbidden


class NothingToAllow(Forbidden):
    """The person's roles in the tenant grant none of the scopes that the device asks for."""

    status, title = 403, "Your roles allow nothing that this device asks for"
    remedy = "Ask an admin of the tenant for a role, or sign in to another tenant."


class DeviceNeedsSecondFactor(Forbidden):
    """The tenant requires a second factor, and the browser's sign-in had none."""

    status, title = 403, "The tenant requires a second factor"
    remedy = "Sign in again with your second factor, then enter the code."


class DeviceNeedsSignIn(Forbidden):
    """The browser's sign-in is older than a session of the client's tenant may be."""

    status, title = 403, "The tenant requires a newer sign-in"
    remedy = "Sign in again, then enter the code."


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device asks the person for. `user_code` is in its stored form."""

    user_code: str
    client: Client
    member: TenantMembership
    scopes: frozenset[str]


@dataclass(frozen=True)
class DeviceApproval:
    database: Database
    tenants: TenantChoice
    settings: AuthSettings
    address: str

    async def look_up(self, browser: Browser, text: str) -> Asked:
        """What the device whose code the person entered asks for.

        Raises SessionConfined, DeviceCodeUnknown, DeviceGuessesThrottled, NothingToAllow, DeviceNeedsSecondFactor;
        DeviceNeedsSignIn;
        NoTenant, TenantNotFound, TenantClosed where the client is another tenant's; ServiceUnavailable.
        """
        if browser.session.confined:  # a tenant's own provider would consent for the person, also in other tenants
            raise SessionConfined
        user_code = service.typed(text)
        async with self.database.transaction() as db:
            device, client = await self._found(db, browser, user_code)
        bound = client.tenant_id or browser.session.tenant_id
        member = await self.tenants.membership_for(browser.account, str(bound), accepting=False)
        if lacks_second_factor(browser.session.amr, member.tenant, self.settings):
            raise DeviceNeedsSecondFactor
        if is_too_old(browser.session.auth_time, member.tenant, self.settings):
            raise DeviceNeedsSignIn
        scopes = granted(member.membership.roles, device.scopes, to_client=True)
        if not scopes:
            raise NothingToAllow
        return Asked(device.user_code, client, member, scopes)

    async def answer(self, browser: Browser, text: str, *, allowed: bool) -> None:
        """Record what the person decided. Raises as `look_up`."""
        if not allowed:
            async with self.database.transaction() as db:
                device, _ = await self._found(db, browser, service.typed(text), lock=True)
                device.refused_at = func.clock_timestamp()
            return
        asked = await self.look_up(browser, text)
        async with self.database.transaction() as db:
            device, client = await self._found(db, browser, asked.user_code, lock=True)
            tenant_id = asked.member.tenant.id
            device.account_id, device.tenant_id = browser.account.id, tenant_id
            device.allowed_by, device.scopes = browser.session.id, sorted(asked.scopes)
            await consents.give(db, browser.account.id, client, tenant_id, asked.scopes, self.address)

    async def _found(
        self, db: AsyncSession, browser: Browser, user_code: str | None, *, lock: bool = False
    ) -> tuple[DeviceCode, Client]:
        """The pending request; a wrong code counts as a guess."""
        counters = throttle.code_counters("device_code", browser.account.id, self.address, self.settings)
        try:
            await throttle.check(db, counters, self.settings.sign_in)
            found = await service.find(db, user_code, lock=lock) if user_code is not None else None
            if found is None:
                await throttle.count_failure(db, counters, self.settings.sign_in)
        except SignInThrottled as problem:
            raise DeviceGuessesThrottled(headers=problem.headers) from None
        if found is None:
            raise DeviceCodeUnknown
        return found
