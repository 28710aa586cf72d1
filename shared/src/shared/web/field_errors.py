"""What an error in one field says: one sentence per rule, whichever library checks the rule."""

from collections.abc import Mapping
from typing import Any, Final

_SENTENCES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("This field is required.", ("missing",)),
    ("There is no field of this name.", ("extra_forbidden",)),
    ("Must be text.", ("string_type",)),
    ("Must have at least {min_length} characters.", ("string_too_short",)),
    ("Must have at most {max_length} characters.", ("string_too_long",)),
    ("Must match the pattern {pattern}", ("string_pattern_mismatch",)),
    ("Must have at least {min_length} items.", ("too_short",)),
    ("Must have at most {max_length} items.", ("too_long",)),
    ("Must be a whole number.", ("int_type", "int_parsing", "int_from_float", "int_parsing_size")),
    ("Must be a number.", ("float_type", "float_parsing")),
    ("Must be a finite number.", ("finite_number",)),
    ("Must be at least {ge}.", ("greater_than_equal",)),
    ("Must be greater than {gt}.", ("greater_than",)),
    ("Must be at most {le}.", ("less_than_equal",)),
    ("Must be less than {lt}.", ("less_than",)),
    ("Must be true or false.", ("bool_type", "bool_parsing")),
    ("Must be a UUID.", ("uuid_type", "uuid_parsing")),
    ("Must be one of these: {expected}.", ("literal_error", "enum")),
    ("Must be a list.", ("list_type",)),
    ("Must be an object.", ("dict_type", "model_type", "model_attributes_type")),
)
SENTENCES: Final[Mapping[str, str]] = {code: sentence for sentence, codes in _SENTENCES for code in codes}
"""By code. The codes are Pydantic's, and permanent; a rule of a service's own says `value_error` and its reason."""


def sentence(code: str, **values: object) -> str:
    """What the rule `code` says, with its `values`."""
    written = SENTENCES[code].format_map(values)
    return written.replace(" 1 characters", " 1 character").replace(" 1 items", " 1 item")


def code_and_detail(error: Mapping[str, Any]) -> tuple[str, str]:
    """The code and the sentence of one of Pydantic's errors. What was sent is not repeated."""
    code: str = error["type"]
    if code in ("too_long", "too_short") and isinstance(error.get("input"), str):  # Pydantic did not see its type
        code = f"string_{code}"
    if code not in SENTENCES:
        return code, error["msg"].removeprefix("Value error, ")
    return code, sentence(code, **error.get("ctx", {}))
