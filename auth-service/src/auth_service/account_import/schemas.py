"""One line of an import: an account as another system exports it."""

import base64
import binascii
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Json, model_validator

from auth_service.accounts.fields import Email, Username
from auth_service.accounts.imported_hashes import is_supported, normalized
from shared.field_errors import FieldRule
from shared.web.json_input import Input

SUPPORTED_HASH: Final = FieldRule(
    "supported_hash", "Must be a hash of bcrypt, PBKDF2, scrypt or argon2 whose cost is acceptable."
)
ONE_PASSWORD: Final = FieldRule("one_password", "Requires either password_hash or keycloak.")


def _supported(value: str) -> str:
    stored = normalized(value)
    if not is_supported(stored):
        raise SUPPORTED_HASH.broken()
    return stored


class _KeycloakSecret(BaseModel):
    value: str
    salt: str


class _KeycloakAlgorithm(BaseModel):
    hashIterations: int = Field(alias="hashIterations")  # noqa: N815 - Keycloak's name
    algorithm: Literal["pbkdf2-sha256", "pbkdf2-sha512"]


class KeycloakCredential(BaseModel):
    """A credential of Keycloak's realm export."""

    model_config = ConfigDict(extra="ignore")

    secretData: Json[_KeycloakSecret]  # noqa: N815 - Keycloak's name
    credentialData: Json[_KeycloakAlgorithm]  # noqa: N815 - Keycloak's name

    def encoded(self) -> str:
        """The hash as `imported_hashes` reads it."""
        algorithm, secret = self.credentialData, self.secretData
        try:
            salt, digest = _without_padding(secret.salt), _without_padding(secret.value)
        except (ValueError, binascii.Error):
            return ""
        return f"${algorithm.algorithm}${algorithm.hashIterations}${salt}${digest}"


class ImportedAccount(Input):
    """`tenant_id`: the tenant that the person joins as a user; omitted: the default tenant."""

    username: Username
    email: Email
    email_verified: bool = False
    password_hash: Annotated[str, Field(max_length=1000), AfterValidator(_supported)] = ""
    keycloak: KeycloakCredential | None = None
    tenant_id: UUID | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_password(cls, value: Any) -> Any:
        if isinstance(value, dict) and ("password_hash" in value) == ("keycloak" in value):
            raise ONE_PASSWORD.broken()
        return value

    @model_validator(mode="after")
    def _readable(self) -> "ImportedAccount":
        if self.keycloak is not None:
            self.password_hash = _supported(self.keycloak.encoded())
        return self


def _without_padding(text: str) -> str:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode().rstrip("=").replace("+", ".")
