from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Header, Path, Query, Response
from pydantic import BaseModel, JsonValue, ValidationError
from starlette.responses import StreamingResponse

from shared.deps import Conditions, CurrentUser, DatabaseDep, Db, RevocationsDep, require_scopes
from shared.field_errors import FieldRule
from shared.problems import InsufficientScope, InvalidInput, NoTenant, raises
from shared.telemetry.traces import traceparent
from shared.web import sse
from shared.web.errors import invalid_body
from shared.web.idempotency import IdempotentJson
from shared.web.paging import CursorPage, PageQuery, by_name
from shared.web.router import Router
from tasks_service.deps import HealthDep, ListenerDep, Settings
from tasks_service.jobs import service
from tasks_service.jobs.models import ENDED
from tasks_service.jobs.schemas import JobIn, JobOut, JobQuery, KindOut
from tasks_service.jobs.service import JobEnded, JobNotFound, NoResultYet, NotRetryable
from tasks_service.jobs.watch import Watch, seen_of
from tasks_service.kinds.kind import Kind
from tasks_service.kinds.registry import available
from tasks_service.settings import TasksSettings

UNKNOWN_KIND = FieldRule("unknown_kind", "Must be one of GET /api/v1/job-kinds.")

router = Router(prefix="/api/v1", tags=["jobs"])

READ, WRITE = [Depends(require_scopes("jobs:read"))], [Depends(require_scopes("jobs:write"))]
JobId = Annotated[UUID, Path(examples=["01920000-0000-7000-8000-00000000000a"])]

MAX_BODY_BYTES = 8 * 1024 * 1024  # rows travel in the body; larger inputs are uploaded as files


@router.post("/jobs", status_code=202, dependencies=WRITE, max_body_size=MAX_BODY_BYTES)
@raises(NoTenant, InsufficientScope)
async def submit_job(
    body: JobIn, user: CurrentUser, db: Db, once: IdempotentJson, settings: Settings, response: Response
) -> JobOut:
    """Accept a job: it is stored when this answers, and a worker runs it. Watch it at its `/events`."""
    kind = _kind(settings, body.kind)
    service.require(user, kind.scopes)
    origin = {"request_id": structlog.contextvars.get_contextvars().get("request_id"), "traceparent": traceparent()}
    job = await service.submit(db, user, body, kind, _checked(kind, body, settings), origin)
    answer = JobOut.of(job)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    await once.keep(answer, 202, {"Location": response.headers["Location"]})
    return answer


@router.get("/jobs", dependencies=READ)
async def list_jobs(query: Annotated[JobQuery, Query()], user: CurrentUser, db: Db) -> CursorPage[JobOut]:
    """The caller's jobs; with admin:read the tenant's."""
    found, next_cursor = await service.page(db, user, query)
    return CursorPage(items=[JobOut.of(job) for job in found], next_cursor=next_cursor)


@router.get("/jobs/{job_id}", dependencies=READ)
@raises(JobNotFound)
async def read_job(job_id: JobId, user: CurrentUser, db: Db, conditions: Conditions) -> JobOut:
    """The job as it is now."""
    job = await service.read(db, user, job_id)
    conditions.shows(f"{job.event_seq}-{job.attempt}-{job.status}")
    return JobOut.of(job)


@router.get("/jobs/{job_id}/result", dependencies=READ, response_model=dict[str, JsonValue])
@raises(JobNotFound, NoResultYet)
async def read_result(job_id: JobId, user: CurrentUser, db: Db) -> Response:
    """What the job came to, in the shape of its kind; 409 while there is none."""
    return Response(await service.result(db, user, job_id), media_type="application/json")


@router.post("/jobs/{job_id}/cancel", status_code=202, dependencies=WRITE)
@raises(JobNotFound, JobEnded)
async def cancel_job(job_id: JobId, user: CurrentUser, db: Db) -> JobOut:
    """Cancel a waiting job at once, a running one as soon as its worker is notified; 409 for an ended one."""
    return JobOut.of(await service.cancel(db, user, job_id))


@router.post("/jobs/{job_id}/retry", status_code=202, dependencies=WRITE)
@raises(JobNotFound, NotRetryable)
async def retry_job(job_id: JobId, user: CurrentUser, db: Db, settings: Settings) -> JobOut:
    """Take up a failed or cancelled job again; 409 for any other."""
    attempts = {kind.name: kind.max_attempts for kind in available(settings).values()}
    return JobOut.of(await service.retry(db, user, job_id, attempts))


@router.get("/jobs/{job_id}/events", dependencies=READ, response_class=StreamingResponse)
@raises(JobNotFound)
async def watch_job(
    job_id: JobId,
    user: CurrentUser,
    db: Db,
    database: DatabaseDep,
    listener: ListenerDep,
    revocations: RevocationsDep,
    health: HealthDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Server-sent events `progress`, `completed`, `failed`, `cancelled`, each with the job as data.

    Without Last-Event-ID the job as it is now comes first, then what follows; with it, what came after. The stream
    ends after the last event; 204 answers who has seen that.
    """
    job = await service.read(db, user, job_id)
    seen = seen_of(job, last_event_id)
    if seen == job.event_seq and job.status in ENDED:
        return Response(status_code=204)
    watch = Watch(database, listener, revocations, health, user, job.tenant_id)
    return sse.stream(watch.events(job, seen))


@router.get("/job-kinds", dependencies=READ)
async def list_job_kinds(settings: Settings, query: Annotated[PageQuery, Query()]) -> CursorPage[KindOut]:
    """The kinds of jobs there are here, by name, and what each takes."""
    found, following = by_name(available(settings).values(), query, lambda kind: kind.name)
    return CursorPage(items=[_shown(kind) for kind in found], next_cursor=following)


def _shown(kind: Kind) -> KindOut:
    return KindOut(
        name=kind.name,
        description=kind.description,
        scopes=sorted(kind.scopes),
        timeout_s=kind.timeout_s,
        max_attempts=kind.max_attempts,
        input=kind.input.model_json_schema(),
    )


def _kind(settings: TasksSettings, name: str) -> Kind:
    kind = available(settings).get(name)
    if kind is None:
        raise InvalidInput(errors=[UNKNOWN_KIND.at("#/kind")])
    return kind


def _checked(kind: Kind, body: JobIn, settings: TasksSettings) -> BaseModel:
    try:
        checked = kind.input.model_validate(body.input)
    except ValidationError as error:
        raise invalid_body(error, "input") from None
    if errors := list(kind.errors_in(checked, settings)):
        raise InvalidInput(errors=errors)
    return checked
