"""data_processing: one operation over rows, sent with the job or read from a CSV or JSON file."""

from typing import Any, Final, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import PydanticCustomError

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
    field: str | None = Field(default=None, min_length=1, max_length=200, description="Optional for counting only.")
    parameters: dict[str, Any] | None = Field(
        default=None, description="group {by, aggregate} · filter {op, value} · sort {order}."
    )
    rows: list[dict[str, JsonValue]] | None = None
    file_id: UUID | None = Field(default=None, description="One of the caller's CSV or JSON files, instead of rows.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.rows is None) == (self.file_id is None):
            raise PydanticCustomError("rows_or_file", "needs either rows or a file_id")
        checked = self.checked_parameters()
        if self.field is None and not (self.operation == "count" or getattr(checked, "aggregate", "") == "count"):
            raise PydanticCustomError("field_missing", "needs the field that the operation works on")
        return self

    def checked_parameters(self) -> Input:
        """The parameters in the operation's own shape. Raises a ValueError that names the wrong one."""
        model = _PARAMETERS.get(self.operation, NoParameters)
        try:
            return model.model_validate(self.parameters or {})
        except ValidationError as error:
            entry = error.errors(include_url=False, include_context=False, include_input=False)[0]
            name = ".".join(str(part) for part in entry["loc"])
            raise ValueError(f"parameters of {self.operation}: {name}: {entry['msg']}") from None


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
