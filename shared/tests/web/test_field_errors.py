"""One rule, one sentence: what a field error says."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from shared.web.errors import invalid_input

_AFTER = AfterValidator(lambda value: value)
_BEFORE = BeforeValidator(lambda value: value)


@pytest.mark.parametrize(
    ("kind", "sent", "code", "detail"),
    [
        (Annotated[str, Field(max_length=3)], "four", "string_too_long", "Must have at most 3 characters."),
        (Annotated[str, _AFTER, Field(max_length=3)], "four", "string_too_long", "Must have at most 3 characters."),
        (Annotated[str, _BEFORE, Field(max_length=3)], "four", "string_too_long", "Must have at most 3 characters."),
        (Annotated[str, _AFTER, Field(min_length=1)], "", "string_too_short", "Must have at least 1 character."),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "too_long", "Must have at most 1 item."),
        (Annotated[int, Field(le=200)], 201, "less_than_equal", "Must be at most 200."),
        (Annotated[str, Field(pattern="^[a-z]$")], "1", "string_pattern_mismatch", "Must match the pattern ^[a-z]$"),
        (Literal["a", "b"], "c", "literal_error", "Must be one of these: 'a' or 'b'."),
        (int, "many", "int_parsing", "Must be a whole number."),
        (dict[str, int], 7, "dict_type", "Must be an object."),
    ],
)
def test_one_rule_has_one_code_and_one_sentence(kind: Any, sent: Any, code: str, detail: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(sent)
    (error,) = invalid_input([{**refused.value.errors()[0], "loc": ("body", "field")}]).errors
    assert (error.code, error.detail, error.pointer) == (code, detail, "#/field")
