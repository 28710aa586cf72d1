"""data_processing: one operation over rows, sent with the job or read from a CSV or JSON file."""

from typing import Any, Final, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, ValidationInfo, field_validator, model_validator

from shared.field_errors import MISSING, FieldRule
from shared.web.json_input import Input
from tasks_service.kinds.data_operations import process
from tasks_service.kinds.kind import Kind, Running


class GroupParameters(Input):
    by: str = Field(min_length=1, max_length=200)
    aggregate: Literal["count", "sum", "average", "min", "max"] = "count"


class FilterParameters(Input):
    op: Literal["eq", "ne", "lt", "le", "gt", "ge", "contains"]
    value: JsonValue


class SortParameters(Input):
    order: Literal["asc", "desc"] = "asc"


class NoParameters(Input):
    pass


ROWS_OR_FILE = FieldRule("rows_or_file", "Must have either `rows` or `file_id`.")

_PARAMETERS: Final[dict[str, type[Input]]] = {
    "group": GroupParameters,
    "filter": FilterParameters,
    "sort": SortParameters,
}


class DataProcessingInput(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "operation": "group",
                "field": "amount",
                "parameters": {"by": "region", "aggregate": "sum"},
                "rows": [{"region": "north", "amount": 10}, {"region": "south", "amount": 32}],
            }
        }
    )

    operation: Literal["sum", "average", "min", "max", "median", "count", "group", "filter", "sort"]
    parameters: dict[str, Any] | None = Field(
        default=None, validate_default=True, description="group {by, aggregate} · filter {op, value} · sort {order}."
    )
    field: str | None = Field(
        default=None, validate_default=True, min_length=1, max_length=200, description="Optional for counting only."
    )
    rows: list[dict[str, JsonValue]] | None = None
    file_id: UUID | None = Field(default=None, description="One of the caller's CSV or JSON files, instead of rows.")

    @field_validator("parameters")
    @classmethod
    def _fit_the_operation(cls, value: dict[str, Any] | None, others: ValidationInfo) -> dict[str, Any] | None:
        if "operation" in others.data:
            _checked_parameters(others.data["operation"], value)
        return value

    @field_validator("field")
    @classmethod
    def _is_there(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is None and "parameters" in others.data and "operation" in others.data:
            parameters = _checked_parameters(others.data["operation"], others.data["parameters"])
            if not (others.data["operation"] == "count" or getattr(parameters, "aggregate", "") == "count"):
                raise MISSING.broken()
        return value

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.rows is None) == (self.file_id is None):
            raise ROWS_OR_FILE.broken()
        return self

    def checked_parameters(self) -> Input:
        """The parameters in the operation's own shape."""
        return _checked_parameters(self.operation, self.parameters)


def _checked_parameters(operation: str, parameters: dict[str, Any] | None) -> Input:
    """Raises ValidationError, which Pydantic reports below the field that it validates."""
    return _PARAMETERS.get(operation, NoParameters).model_validate(parameters or {})


async def run(given: DataProcessingInput, job: Running) -> bytes:
    asked: dict[str, Any] = {
        "operation": given.operation,
        "field": given.field,
        "parameters": given.checked_parameters().model_dump(),
        "max_bytes": job.settings.worker.max_result_bytes,
    }
    if given.file_id is None:
        return await job.compute(process, **asked, rows=given.rows)
    async with job.file(given.file_id) as file:
        return await job.compute(process, **asked, path=str(file.path), content_type=file.content_type)


KIND = Kind(
    name="data_processing",
    description="Calculates over rows: sum, average, min, max, median, count, group, filter, sort.",
    input=DataProcessingInput,
    run=run,
    needs_for=lambda given: frozenset() if given.file_id is None else frozenset({"files:read"}),
    timeout_s=300,
    max_attempts=3,
)
