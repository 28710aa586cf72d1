"""Second factors as requests have them and answers show them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from shared.text import NAME
from shared.web.json_input import Input, Json

EXAMPLE_CREDENTIAL: Final[dict[str, JsonValue]] = {
    "id": "x5kUn2…",
    "rawId": "x5kUn2…",
    "type": "public-key",
    "response": {"clientDataJSON": "eyJ0eXBl…", "authenticatorData": "SZYN5Y…", "signature": "MEUCIQ…"},
}

Code = Annotated[str, Field(min_length=1, max_length=40, description="Of an authenticator app, or a recovery code.")]
CredentialIn = Annotated[
    dict[str, Json], Field(description="What `PublicKeyCredential.toJSON()` returns in a browser (WebAuthn Level 3).")
]
FactorName = Annotated[str, Field(min_length=1, max_length=60), NAME]
MethodName = Literal["totp", "passkey", "recovery_code"]


class ProofIn(Input):
    """A second factor: `code` with `totp` and `recovery_code`, `credential` with `passkey`."""

    method: MethodName
    code: Code | None = None
    credential: CredentialIn | None = None


class TotpIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"name": "Phone"}})

    name: FactorName = "Authenticator app"


class TotpOut(BaseModel):
    id: UUID
    secret: str = Field(description="Base32, for apps that cannot scan the URI's QR code.", examples=["JBSWY3DP…"])
    uri: str = Field(
        description="The `otpauth:` URI to show as a QR code.",
        examples=["otpauth://totp/Flotilla:ann?secret=JBSWY3DP…"],
    )


class CodeIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"code": "492039"}})

    code: Code


class PasskeyIn(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"name": "Laptop", "credential": EXAMPLE_CREDENTIAL}})

    name: FactorName = "Passkey"
    credential: CredentialIn


class OptionsOut(BaseModel):
    """The options of a WebAuthn ceremony, as `PublicKeyCredential.parse…OptionsFromJSON()` takes them."""

    options: dict[str, Any] = Field(examples=[{"challenge": "q3mZ0w…", "rpId": "app.example"}])


class FactorOut(BaseModel):
    id: UUID
    method: Literal["totp", "passkey"]
    name: str = Field(examples=["Phone"])
    created_at: datetime
    last_used_at: datetime | None


class FactorAdded(BaseModel):
    factor: FactorOut
    recovery_codes: list[str] | None = Field(
        description="With the first factor; shown this once.", examples=[["q3mZ0-…"]]
    )


class FactorsOut(BaseModel):
    factors: list[FactorOut]
    recovery_codes_left: int = Field(examples=[10])


class RecoveryCodesOut(BaseModel):
    recovery_codes: list[str] = Field(description="Shown this once; each works once.", examples=[["q3mZ0-…"]])
