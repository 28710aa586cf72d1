"""The texts of mails by language. A text never holds markup: links and names are put into plain text."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

Notice = Literal[
    "api_key_created",
    "factor_added",
    "factor_removed",
    "identity_linked",
    "identity_unlinked",
    "password_changed",
    "recovery_code_used",
    "recovery_codes_made",
]
"""Mails about a change of what protects an account; each has a link to a new password."""

Purpose = (
    Notice
    | Literal[
        "account_deactivated",
        "account_deactivated_by_operator",
        "account_reactivated",
        "address_in_use",
        "email_changed",
        "invitation",
        "operator_link",
        "reactivate",
        "reactivate_unknown",
        "reset_password",
        "reset_password_unknown",
        "sign_in_link",
        "sign_in_link_unknown",
        "verify_email",
    ]
)


class Text(BaseModel):
    """A subject and a text with placeholders such as `{link}`."""

    model_config = ConfigDict(extra="forbid")

    subject: str
    text: str


# Mail programs make links of addresses in plain text: of `name.tld`, `scheme:…` and `name@host`. The characters are
# those that stand for a dot in a domain (UTS 46, section 2.3) and their relatives.
_LINKED: Final = re.compile(r"(?<=\w)([.\u3002\uff0e\uff61@\uff20])(?=\w)|(?<=[A-Za-z])([:\uff1a])(?=\S)")


def unlinked(text: str) -> str:
    """The text so that no mail program makes a link of it: `evil.example` becomes `evil. example`."""
    return _LINKED.sub(lambda found: f"{found[0]} ", text)


_Texts: Final = TypeAdapter(dict[Purpose, Text])


@cache
def texts(language: str) -> Mapping[Purpose, Text]:
    """The texts in one of the languages."""
    content = files("auth_service.mails").joinpath("languages", f"{language}.toml").read_text(encoding="utf-8")
    return _Texts.validate_python(tomllib.loads(content))
