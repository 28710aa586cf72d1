"""file_processing: what a file holds, in numbers."""

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict

from shared.web.json_input import Input
from tasks_service.kinds.file_operations import process
from tasks_service.kinds.kind import Kind, Running


class FileProcessingInput(Input):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {"file_id": "01920000-0000-7000-8000-00000000000f", "operation": "text_statistics"}
        }
    )

    file_id: UUID
    operation: Literal["text_statistics", "csv_profile", "hash"]


async def run(given: FileProcessingInput, job: Running) -> bytes:
    async with job.file(given.file_id) as file:
        return await job.compute(process, file_id=str(given.file_id), operation=given.operation, path=str(file.path))


KIND = Kind(
    name="file_processing",
    description="Statistics of a text, a profile of a CSV file's columns, or a file's SHA-256.",
    input=FileProcessingInput,
    run=run,
    scopes=frozenset({"files:read"}),
    timeout_s=300,
    max_attempts=3,
)
