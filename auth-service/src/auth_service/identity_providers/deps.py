"""What this process has read about issuers, as a dependency."""

from typing import Annotated

from auth_service.identity_providers.issuers import Issuers
from shared.outbound import Outbound
from shared.resources import resource

IssuersDep = Annotated[Issuers, resource(Issuers)]
OutboundDep = Annotated[Outbound, resource(Outbound)]
