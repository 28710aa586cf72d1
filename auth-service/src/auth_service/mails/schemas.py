"""Mails that another service asks for: what it may fill in. The link and the text around it are this service's."""

from typing import Annotated
from uuid import UUID

from pydantic import ConfigDict, Field

from auth_service.accounts.fields import Email
from shared.text import NAME
from shared.web.json_input import Input
from shared.web.times import Moment

Token = Annotated[str, Field(min_length=20, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]
Role = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9_-]*$")]
Locale = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z0-9-]+$", description="A language tag (BCP 47).")]


class InvitingTenant(Input):
    """The tenant that invites."""

    id: UUID
    name: Annotated[str, Field(min_length=1, max_length=100), NAME]
    slug: Annotated[str, Field(max_length=40, pattern=r"^[a-z][a-z0-9-]*$")]


class InvitationMailIn(Input):
    """An invitation to a tenant. `mail_id` is a new id for each mail: within an hour, a repeat of it sends nothing."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "mail_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                "email": "bob@example.com",
                "locale": "de",
                "tenant": {"id": "01890a5d-ac96-774b-bcce-b302099a8058", "name": "Acme Ltd", "slug": "acme"},
                "inviter_name": "Ann Finch",
                "roles": ["user"],
                "token": "kq3mZ0wXr5yTb8nVc2LpHd",
                "expires_at": "2099-01-31T12:00:00Z",
            }
        }
    )

    mail_id: UUID
    email: Email
    locale: Locale | None = None
    tenant: InvitingTenant
    inviter_name: Annotated[str, Field(min_length=1, max_length=200), NAME]
    roles: Annotated[list[Role], Field(min_length=1, max_length=10)]
    token: Token = Field(description="The invitation's secret. It is in the mail and nowhere else.")
    expires_at: Moment
