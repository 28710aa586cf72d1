"""One rule, one code and one sentence: what a field error says."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from shared.field_errors import FieldRule, every_rule
from shared.text import NAME
from shared.web.errors import invalid_input
from shared.web.times import Day

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
        (Annotated[str, NAME], "two\nlines", "one_line", "Must be one line without control characters."),
        (Day, "yesterday", "not_a_day", "Must be a day such as 2026-01-31 (RFC 3339)."),
    ],
)
def test_one_rule_has_one_code_and_one_sentence(kind: Any, sent: Any, code: str, detail: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(sent)
    (error,) = invalid_input([{**refused.value.errors()[0], "loc": ("body", "field")}]).errors
    assert (error.code, error.detail, error.pointer) == (code, detail, "#/field")


def test_a_code_belongs_to_one_rule() -> None:
    assert every_rule()["missing"].sentence == "This field is required."
    with pytest.raises(TypeError, match="missing"):
        FieldRule("missing", "Where is it?")
