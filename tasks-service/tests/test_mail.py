"""Mail as it is on the wire, and what each answer of a mail server means for the job."""

import asyncio
import sys
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import httpx2
import pytest

from shared.dev.servers.server import free_port
from shared.testing import eventually
from shared.testing.smtp_script import AFTER_THE_DOT, GREETING, SmtpScript, smtp_script

MAIL = {"to": "ann@example.com", "subject": "Ahoy", "text": "The fleet is in."}
HEADERS = {"From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted", "MIME-Version"}
HEADERS |= {"Content-Type", "Content-Transfer-Encoding"}
STEPS = (GREETING, "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", AFTER_THE_DOT)


@pytest.fixture
async def script(settings_values: dict[str, Any]) -> AsyncIterator[SmtpScript]:
    async with smtp_script() as running:
        settings_values["smtp"] |= {"port": running.port, "username": "fleet", "password": "of ships"}
        running.extensions.append("AUTH PLAIN")
        yield running


def _parsed(message: bytes) -> EmailMessage:
    parsed = message_from_bytes(message, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


@pytest.mark.parametrize(
    "subject",
    [
        "=?utf-8?q?Hello=0D=0ABcc:_x=40example.org?=",
        "=?utf-8?b?SGVsbG8NCkJjYzogeEBleGFtcGxlLm9yZw==?=",
        "Re: =?utf-8?q?a?= b",
        "=? half",
        "Grüße an alle, die heute im Hafen sind, und an alle, die noch kommen ☕️ — bis bald",
        'd =b 語>bq(?n☕語 b語👩G =cür ö "quoted" <x@example.org>, y;',
        "a word " * 25 + "end",
        "x" * 200,
        "日本語" * 60,
        "a@example.org, b@example.org",
    ],
)
async def test_a_subject_arrives_as_it_was_written(
    start_worker: Any, script: SmtpScript, jobs: Any, subject: str
) -> None:
    async with start_worker():
        job = await jobs.ended(await jobs.submit("email", {**MAIL, "subject": subject}))
        assert job["status"] == "completed", job
    [raw] = script.messages
    head = raw.split(b"\r\n\r\n")[0]
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    names = {line.split(b":")[0].decode() for line in head.split(b"\r\n") if not line.startswith(b" ")}
    assert names == HEADERS
    assert _parsed(raw)["Subject"] == subject
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert [one for one in script.commands if one.startswith("RCPT")] == ["RCPT TO:<ann@example.com>"]


async def test_the_text_arrives_as_it_was_written(start_worker: Any, script: SmtpScript, jobs: Any) -> None:
    text = "Ahoy.\n.\n..dots\nFrom here\n" + "long " * 400 + "\nGrüße ☕️\n=?utf-8?q?x?=\n"
    async with start_worker():
        given = {**MAIL, "text": text, "html": "<p>Grüße</p>\n"}
        assert (await jobs.ended(await jobs.submit("email", given)))["status"] == "completed"
    message = _parsed(script.messages[0].replace(b"\r\n..", b"\r\n."))
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    texts = [part.get_content().replace("\r\n", "\n") for part in (plain, html)]
    assert texts == [text, "<p>Grüße</p>\n"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "two\r\nlines"),
        ("subject", "\u2028"),
        ("subject", "\u200b"),
        ("subject", "a\u202eb"),
        ("to", "=?utf-8?q?bob=40example.org=2C?=@example.com"),
        ("to", "ann@example.com, bob@example.com"),
        ("to", "Ann <ann@example.com>"),
        ("to", "ann@example.com\r\nBcc: x@example.org"),
        ("to", "a" * 65 + "@example.com"),
    ],
)
async def test_what_a_header_cannot_carry_is_refused(client: Any, jobs: Any, field: str, value: str) -> None:
    body = {"kind": "email", "input": {**MAIL, field: value}}
    reply = await client.post("/api/v1/jobs", json=body, headers=jobs.headers)
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, f"#/input/{field}")


@pytest.mark.parametrize("to", ["ann@harbour.local", "ann@harbour.test"])
async def test_mail_to_a_special_use_domain_is_for_development(
    start_worker: Any, script: SmtpScript, jobs: Any, to: str
) -> None:
    async with start_worker():
        assert (await jobs.ended(await jobs.submit("email", {**MAIL, "to": to})))["status"] == "completed"
    assert [one for one in script.commands if one.startswith("RCPT")] == [f"RCPT TO:<{to}>"]


class TestWithoutSpecialUseDomains:
    @pytest.fixture
    def settings_values(self, settings_values: dict[str, Any]) -> dict[str, Any]:
        return settings_values | {"special_use_email_domains": False}

    async def test_mail_to_a_special_use_domain_is_refused(self, client: Any, jobs: Any) -> None:
        body = {"kind": "email", "input": {**MAIL, "to": "ann@harbour.local"}}
        reply = await client.post("/api/v1/jobs", json=body, headers=jobs.headers)
        assert reply.status_code == 422
        [error] = reply.json()["errors"]
        assert (error["code"], error["pointer"]) == ("special_use_domain", "#/input/to")


@pytest.mark.parametrize("step", STEPS)
async def test_a_permanent_answer_fails_the_job_at_once_and_a_transient_one_is_tried_again(
    start_worker: Any, script: SmtpScript, jobs: Any, step: str
) -> None:
    if step == "STARTTLS":
        script.extensions.append("STARTTLS")
    also = {"HELO": "552 no"} if step == "EHLO" else {}
    async with start_worker():
        script.answers = {step: "552 no", **also}
        refused = await jobs.ended(await jobs.submit("email", MAIL))
        assert (refused["status"], refused["attempt"], refused["error"]["code"]) == ("failed", 1, "mail_refused")
        assert "552" in refused["error"]["detail"]

        script.answers = dict.fromkeys(script.answers, "452 later")
        later = await jobs.submit("email", MAIL)
        tried = await eventually(lambda: _attempted(jobs, later, 2))
        assert (tried or {})["error"]["code"] == "mail_server_unavailable"
        script.answers, script.extensions = {}, ["AUTH PLAIN"]
        assert (await jobs.ended(later))["status"] == "completed"


async def test_a_connection_that_ends_is_tried_again(start_worker: Any, script: SmtpScript, jobs: Any) -> None:
    script.answers = {"MAIL": "421 closing"}
    async with start_worker():
        later = await jobs.submit("email", MAIL)
        await eventually(lambda: _attempted(jobs, later, 2))
        script.answers = {}
        assert (await jobs.ended(later))["status"] == "completed"


async def test_an_answer_to_quit_changes_nothing(start_worker: Any, script: SmtpScript, jobs: Any) -> None:
    script.answers = {"QUIT": "554 no"}
    async with start_worker():
        job = await jobs.ended(await jobs.submit("email", MAIL))
        assert (job["status"], job["attempt"], len(script.messages)) == ("completed", 1, 1)


async def _attempted(jobs: Any, job: dict[str, Any], attempt: int) -> dict[str, Any] | None:
    found: dict[str, Any] = await jobs.read(job)
    return found if found["attempt"] >= attempt and found["error"] else None


async def test_the_mail_catcher_shows_the_subject_as_it_was_written(
    start_worker: Any, settings_values: dict[str, Any], jobs: Any
) -> None:
    smtp, http = free_port(), free_port()
    command = (sys.executable, "-m", "shared.dev.servers.mail", str(smtp), str(http))
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    settings_values["smtp"]["port"] = smtp
    subject = "=?utf-8?q?Hello=0D=0ABcc:_x=40example.org?="
    try:
        async with start_worker(), httpx2.AsyncClient(base_url=f"http://127.0.0.1:{http}") as catcher:
            job = await jobs.ended(await jobs.submit("email", {**MAIL, "subject": subject}))
            assert job["status"] == "completed", job
            [caught] = (await catcher.get("/messages")).json()
            assert (caught["subject"], caught["to"], caught["text"]) == (subject, [MAIL["to"]], MAIL["text"] + "\n")
    finally:
        process.terminate()
        await process.wait()
