"""The client credentials grant (RFC 6749, section 4.4): a client acts for itself, in its tenant."""

from collections.abc import Mapping

from auth_service.accounts.models import ACTIVE
from auth_service.clients.models import Client
from auth_service.memberships.models import Tenant
from auth_service.oauth_errors import OAuthError
from auth_service.scopes.service import granted
from shared.identity import Principal
from shared.ids import new_id


def machine(
    client: Client,
    tenant: Tenant | None,
    form: Mapping[str, str],
    *,
    issuer: str,
    expires_at: int,
    dpop_jkt: str | None,
) -> Principal:
    """The client as itself, with the scopes that it asks for, is registered for, and its roles grant in its tenant.

    Its id is its `sub`, and its `sid`, so that the revocation feed ends its tokens. Raises OAuthError.
    """
    requested = frozenset(form.get("scope", " ".join(client.scopes)).split())
    scopes = granted(client.roles, requested.intersection(client.scopes))
    if not scopes:
        raise OAuthError("invalid_scope", "The client's roles grant none of the scopes that it is registered for.")
    if client.tenant_id is not None and (tenant is None or tenant.status != ACTIVE):
        raise OAuthError("unauthorized_client", "The client's tenant is suspended.")
    return Principal(
        user_id=client.id,
        username=client.name,
        tenant_id=client.tenant_id,
        tenant_slug=tenant.slug if tenant is not None else None,
        roles=frozenset(client.roles),
        scopes=scopes,
        tier=tenant.tier if tenant is not None else None,
        session_id=client.id,
        client_id=str(client.id),
        token_id=str(new_id()),
        user_epoch=0,
        tenant_version=tenant.version if tenant is not None else None,
        expires_at=expires_at,
        issuer=issuer,
        dpop_jkt=dpop_jkt,
    )
