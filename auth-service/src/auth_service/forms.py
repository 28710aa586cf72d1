"""The fields of an HTML form (application/x-www-form-urlencoded)."""

from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError

from shared.field_errors import REPEATED_FIELD
from shared.problems import InvalidInput, MalformedRequest
from shared.web.errors import invalid_body
from shared.web.json_input import Input

FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 20

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


def validated(model: type[Body], value: Any) -> Body:
    """The body that was read outside of FastAPI's own reading. Raises InvalidInput."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid_body(error) from None
