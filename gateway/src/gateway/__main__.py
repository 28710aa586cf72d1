"""The gateway's command line: python -m gateway serve | routes check | problems."""

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway import app
from gateway.portal.catalogue import as_json, as_markdown, explain
from gateway.routes import file
from gateway.settings import GatewaySettings
from shared.problems import every_problem
from shared.settings import SettingsInvalid, load
from shared.telemetry import logs, traces

line = typer.Typer(
    name="gateway", help="The one door of the fleet.", no_args_is_help=True, pretty_exceptions_enable=False
)
routes = typer.Typer(help="The route table.", no_args_is_help=True)
line.add_typer(routes, name="routes")


@line.command()
def serve(port: Annotated[int | None, typer.Option(help="Instead of SERVER__PORT.")] = None) -> None:
    """Serve until SIGTERM or Ctrl-C; open requests get SERVER__DRAIN_S seconds to end."""
    settings = load(GatewaySettings)
    logs.configure(settings.log, "gateway")
    traces.configure(settings.telemetry, "gateway")
    uvloop.run(app.serve(settings, port))


@routes.command()
def check(path: Annotated[Path | None, typer.Argument(help="Unset: the fleet's own table.")] = None) -> None:
    """Say whether a route table can be used, and if not, why."""
    file.load(path)
    typer.echo("The table is valid.")


@line.command()
def problems(
    packages: Annotated[list[str], typer.Argument(help="The services' packages, such as auth_service.")],
    folder: Annotated[Path, typer.Option(help="The repository.")] = Path(),
) -> None:
    """Write docs/problems.md and the gateway's catalogue from every problem that the packages define."""
    for package in packages:
        importlib.import_module(f"{package}.app")
    every = [explain(kind) for kind in every_problem().values()]
    (folder / "docs/problems.md").write_text(as_markdown(every), encoding="utf-8")
    (folder / "gateway/src/gateway/portal/problems.json").write_bytes(as_json(every))


def main() -> None:
    try:
        line()
    except (SettingsInvalid, file.TableInvalid) as error:
        typer.echo(str(error), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
