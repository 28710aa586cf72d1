"""The fields of an HTML form (application/x-www-form-urlencoded)."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from shared.field_errors import REPEATED_FIELD
from shared.problems import InvalidInput, MalformedRequest
from shared.web.errors import invalid_body
from shared.web.json_input import Input

FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 120  # the form of a new API key has one for each scope

Body = TypeVar("Body", bound=Input)


def form_fields(body: bytes) -> dict[str, str]:
    """The form's fields. Raises MalformedRequest, InvalidInput for a field that is given twice."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:  # broken percent-encoded UTF-8, bytes that a form never holds, too many fields
        raise MalformedRequest("The form cannot be read.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidInput(errors=[REPEATED_FIELD.at("#")])
    return fields


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not blank: a browser also sends those that the person has left empty."""
    return {name: value for name, value in fields.items() if value.strip()}


def validated(model: type[Body], value: Any) -> Body:
    """The body that was read outside of FastAPI's own reading. Raises InvalidInput."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_body(error) from None
