"""The command line that every service has: python -m <service> serve | migrate | db create | events … | openapi."""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Final

import typer
from asyncpg import InvalidAuthorizationSpecificationError
from fastapi import FastAPI
from sqlalchemy import MetaData
from sqlalchemy.engine import make_url

from shared.app import Service, run_events
from shared.checked_settings import load_checked
from shared.data import production_checks, revisions, roles
from shared.data.database import Database
from shared.data.models import Base
from shared.data.roles import database_name
from shared.events import contracts
from shared.events.bus import BusUnavailable
from shared.events.cli import events_commands
from shared.field_errors import every_rule
from shared.identity.requirements import UnknownRequirements, grants_of
from shared.problems import DatabaseUnavailable, every_problem
from shared.server import Server
from shared.settings import OwnerSettings, S, ServiceSettings, SettingsInvalid, load
from shared.telemetry import logs, traces
from shared.web.health import HealthChecks

# Alembic is imported by the two verbs that need it, and so by no process that serves.
_UPGRADE: Final = "shared.data.migrations:upgrade"
_DIFFERENCES: Final = "shared.data.migrations:differences"


def run(service: Service) -> None:
    """Run the command that the process was started with; does not return."""
    try:
        command_line(service)()
    except (SettingsInvalid, UnknownRequirements) as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except BusUnavailable as error:
        typer.echo(f"BUS_URL: the bus is unreachable: {error}", err=True)
        sys.exit(1)
    except DatabaseUnavailable as error:
        typer.echo(f"DATABASE_URL: the server is unreachable: {error.__cause__ or error}", err=True)
        sys.exit(1)


def command_line(service: Service) -> typer.Typer:
    """All commands of `service`."""
    line = typer.Typer(
        name=service.package, help=service.description, no_args_is_help=True, pretty_exceptions_enable=False
    )
    database = typer.Typer(help="The service's database.", no_args_is_help=True)
    _add_serve(line, service)
    _add_database(line, database, service)
    _add_openapi(line, service)
    line.add_typer(database, name="db")
    events = events_commands(service.name, service.handlers, lambda: load(service.settings))
    _add_events_run(events, service)
    line.add_typer(events, name="events")
    for name, commands in service.commands.items():
        line.add_typer(commands, name=name)
    return line


def load_fit(service: Service, kind: type[S]) -> S:
    """The settings of a long-running process. Raises SettingsInvalid with all errors, those in the database too."""
    settings, errors = load_checked(kind)
    if settings.guarded and settings.database_url is not None:
        found = asyncio.run(_reasons(service, settings))
        errors += [f"{service.name}: the database is not allowed in production:"] if found else []
        errors += [f"  {reason}" for reason in found]
    if errors:
        raise SettingsInvalid("\n".join(errors))
    return settings


async def _reasons(service: Service, settings: ServiceSettings) -> list[str]:
    database = Database(settings)
    try:
        return await production_checks.reasons(database, service.migrations, service.refusals(settings))
    finally:
        await database.close()


def start_process(service: Service, settings: ServiceSettings, name: str | None = None) -> None:
    """What every long-running verb does once it has its settings: logs and traces of the process."""
    logs.configure(settings.log, name or service.name)
    traces.configure(settings.telemetry, name or service.name)


def _add_serve(line: typer.Typer, service: Service) -> None:
    @line.command()
    def serve(
        port: Annotated[int | None, typer.Option(help="Overrides SERVER__PORT.")] = None,
        events: Annotated[bool, typer.Option(help="Run the event relay and inbox worker in this process.")] = True,
    ) -> None:
        """Serve the API until SIGTERM or Ctrl-C; open requests have SERVER__DRAIN_S seconds to finish."""
        settings = load_fit(service, service.settings)
        start_process(service, settings)
        health = HealthChecks(service.name)
        app = service.create_app(settings, health=health, events=events)
        Server(app, settings, health, port=port).run()


def _add_events_run(events: typer.Typer, service: Service) -> None:
    @events.command("run")
    def run_apart() -> None:
        """Run only the event relay and inbox worker, for use with `serve --no-events`."""
        settings = load_fit(service, service.settings)
        start_process(service, settings)
        asyncio.run(run_events(service, settings))


def _add_database(line: typer.Typer, database: typer.Typer, service: Service) -> None:
    @line.command()
    def migrate() -> None:
        """Migrate the database to this release's schema, with the login in DATABASE_OWNER_URL."""
        settings = load(service.settings)
        name = settings.database.name or database_name(service.name)
        upgrade: Callable[[str, str, str, Path], Coroutine[Any, Any, None]] = resolve_name(_UPGRADE)
        with _reached(url := OwnerSettings().url):
            try:
                asyncio.run(upgrade(url, name, service.name, service.migrations))
            except revisions.TenantsNotMigrated as error:
                typer.echo(f"These tenants have a schema that was not migrated; migrate again.\n{error}", err=True)
                raise typer.Exit(1) from None
        typer.echo(f"{name} is at {revisions.head(service.migrations)}")

    @database.command()
    def check() -> None:
        """List the differences between the database and the models; exit with 1 if there are any."""
        settings = load(service.settings)
        name = settings.database.name or database_name(service.name)
        differences: Callable[[str, str, str, MetaData], Coroutine[Any, Any, list[str]]] = resolve_name(_DIFFERENCES)
        found = asyncio.run(differences(OwnerSettings().url, name, service.name, Base.metadata))
        for difference in found:
            typer.echo(difference)
        raise typer.Exit(1 if found else 0)

    @database.command()
    def create(
        print_only: Annotated[bool, typer.Option("--print", help="Print the SQL instead of running it.")] = False,
    ) -> None:
        """Create the database, its three roles and their grants; safe to run again."""
        settings = load(service.settings)
        name = settings.database.name or database_name(service.name)
        login, password = _login(settings)
        if print_only:
            for statement in _all_statements(service.name, name, login):
                typer.echo(f"{statement};")
            return
        with _reached(url := OwnerSettings().url):
            asyncio.run(roles.create_database(url, service.name, name, login, password))
        typer.echo(f"{name} is ready for {login}")


def _all_statements(service: str, name: str, login: str) -> list[str]:
    return [
        *roles.role_statements(service, login, "<the password in DATABASE_URL>"),
        *roles.database_statements(service, name),
        *roles.grant_statements(service, name, login),
        f"\\connect {roles.identifier(name)}",
        *roles.schema_statements(service),
    ]


def _add_openapi(line: typer.Typer, service: Service) -> None:
    @line.command()
    def openapi(
        write: Annotated[Path | None, typer.Option(help="The folder to write all contracts to.")] = None,
    ) -> None:
        """Print the OpenAPI document, or write all contracts to a folder."""
        app = assembled(service)
        document = app.openapi()
        if write is None:
            typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
            return
        write.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        (write / "openapi.json").write_text(text, encoding="utf-8")
        contracts.write(write, service.name, service.publishes, service.handlers)
        scopes = [scope.listed() for scope in service.scopes]
        lists = {
            "problems": problem_list(),
            "field_errors": field_error_list(),
            "scopes": scopes,
            "grants": grants_of(app.routes),
        }
        for name, listed in lists.items():
            (write / f"{name}.json").write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")


def problem_list() -> list[dict[str, Any]]:
    """Every problem that this service can return; docs/problems.md and `/problems/{code}` are generated from it."""
    return [
        {
            "code": code,
            "status": problem.status,
            "title": problem.title,
            "cause": inspect.cleandoc(problem.__doc__ or problem.title),
            "remedy": problem.remedy,
        }
        for code, problem in every_problem().items()
    ]


def field_error_list() -> dict[str, str]:
    """The code and the sentence of every rule for a field that this service can report as broken."""
    return {code: rule.sentence for code, rule in every_rule().items()}


def assembled(service: Service) -> FastAPI:
    """The application that the contracts are read from; needs no server and no secret."""
    os.environ.setdefault("ENVIRONMENT", "testing")
    return service.assemble(service.settings(environment="testing"))


@contextmanager
def _reached(url: str) -> Iterator[None]:
    """Turn an unreachable server or a rejected login into one sentence for the operator."""
    try:
        yield
    except (OSError, InvalidAuthorizationSpecificationError) as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise SettingsInvalid(f"DATABASE_OWNER_URL is {shown}; connecting failed: {error}") from None


def _login(settings: ServiceSettings) -> tuple[str, str]:
    if settings.database_url is None:
        raise SettingsInvalid(
            "DATABASE_URL is not set; set it to the application's login, such as postgresql://login:password@host"
        )
    url = make_url(settings.database_url.get_secret_value())
    return url.username or "flotilla", str(url.password or "")
