"""What an error in one field says: a permanent code and one sentence per rule, wherever it is checked.

A service defines a rule of its own where it is checked, and raises it in a validator or as a problem:

    OWN_ID = FieldRule("own_id", "Must be another person's id.")
    raise OWN_ID.broken()                                   # in a validator of Pydantic
    raise InvalidInput(errors=[OWN_ID.at("#/user_id")])     # anywhere else

docs/problems.md lists every rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_by_code: dict[str, "FieldRule"] = {}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error in one field: a `pointer` into the body (RFC 6901) or the name of a `parameter`."""

    rule: "FieldRule"
    detail: str
    pointer: str | None = None
    parameter: str | None = None

    @property
    def code(self) -> str:
        return self.rule.code

    def body(self) -> dict[str, str]:
        place = {"pointer": self.pointer, "parameter": self.parameter}
        return {"detail": self.detail, "code": self.code, **{k: v for k, v in place.items() if v is not None}}


class FieldRule:
    """A rule that the value of one field follows. Words in braces in its sentence are the rule's values."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code, self.sentence = code, sentence
        if _by_code.setdefault(code, self).sentence != sentence:
            raise TypeError(f"the field rule {code!r} already says: {_by_code[code].sentence}")

    def detail(self, **values: object) -> str:
        """The sentence with the rule's values."""
        written = self.sentence.format_map(values)
        return written.replace(" 1 characters", " 1 character").replace(" 1 items", " 1 item")

    def at(self, pointer: str | None = None, *, parameter: str | None = None, **values: object) -> FieldError:
        """The error in the field at `pointer`, or in `parameter`."""
        return FieldError(self, self.detail(**values), pointer, parameter)

    def broken(self, **values: object) -> "RuleBroken":
        """The error to raise in a validator, which knows no field."""
        return RuleBroken(self, self.detail(**values))


class RuleBroken(ValueError):
    """A value breaks a rule; Pydantic adds the field."""

    def __init__(self, rule: FieldRule, detail: str) -> None:
        super().__init__(detail)
        self.rule, self.detail = rule, detail


def every_rule() -> dict[str, FieldRule]:
    """The rules that this process has loaded, by code and sorted by code."""
    return dict(sorted(_by_code.items()))


_PYDANTICS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
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
PYDANTICS: Final[Mapping[str, FieldRule]] = {
    code: FieldRule(code, sentence) for sentence, codes in _PYDANTICS for code in codes
}
"""The rules that Pydantic checks, by its codes."""

MISSING: Final = PYDANTICS["missing"]
EXTRA_FORBIDDEN: Final = PYDANTICS["extra_forbidden"]
STRING_TOO_LONG: Final = PYDANTICS["string_too_long"]
FINITE_NUMBER: Final = PYDANTICS["finite_number"]
NUL_CHARACTER: Final = FieldRule("nul_character", "Must not contain the character NUL.")
REPEATED_FIELD: Final = FieldRule("repeated_field", "Must not be sent twice.")
REQUIRED: Final = FieldRule("required", "Must not be null: this field cannot be cleared.")
_OTHER: Final = FieldRule("value_error", "{reason}")


def broken_rule(error: Mapping[str, Any]) -> tuple[FieldRule, str]:
    """The rule and the sentence of one of Pydantic's errors. What was sent is not repeated."""
    code, context = error["type"], error.get("ctx", {})
    if isinstance(broken := context.get("error"), RuleBroken):
        return broken.rule, broken.detail
    if code in ("too_long", "too_short") and isinstance(error.get("input"), str):  # Pydantic did not see its type
        code = f"string_{code}"
    if (rule := PYDANTICS.get(code)) is None:
        return _OTHER, error["msg"].removeprefix("Value error, ")
    return rule, rule.detail(**context)
