"""wait: a job that does nothing for a while, to try progress, cancel and faults with. Development and testing only."""

import asyncio

import orjson
from pydantic import ConfigDict, Field

from shared.web.json_input import Input
from tasks_service.kinds.kind import Kind, Running


class WaitInput(Input):
    model_config = ConfigDict(json_schema_extra={"example": {"seconds": 2, "steps": 4}})

    seconds: float = Field(strict=True, ge=0.1, le=60)
    steps: int = Field(default=1, strict=True, ge=1, le=100)


async def run(given: WaitInput, job: Running) -> bytes:
    for step in range(given.steps):
        await asyncio.sleep(given.seconds / given.steps)
        job.progress(100 * (step + 1) / given.steps, f"step {step + 1} of {given.steps}")
    return orjson.dumps({"seconds": given.seconds, "steps": given.steps})


KIND = Kind(name="wait", description="Waits, step by step.", input=WaitInput, run=run, timeout_s=90, max_attempts=3)
