"""The gateway's command cli: python -m gateway serve | routes check | openapi."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from gateway import app
from gateway.edge.server import PortTaken
from gateway.portal.app import Entrance, application
from gateway.portal.catalogue import explain
from gateway.portal.openapi import Published
from gateway.routes import file
from gateway.settings import GatewaySettings
from shared.checked_settings import load_checked
from shared.problems import every_problem
from shared.resources import MissingSetting
from shared.settings import SettingsInvalid
from shared.telemetry import logs, traces
from shared.web.health import HealthChecks

cli = typer.Typer(
    name="gateway",
    help="The API gateway, the fleet's only public entry point.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
routes = typer.Typer(help="The route table.", no_args_is_help=True)
cli.add_typer(routes, name="routes")


@cli.command()
def serve(
    port: Annotated[int | None, typer.Option(help="The port to serve on; overrides SERVER__PORT.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; open requests then have SERVER__DRAIN_S seconds to finish."""
    settings, errors = load_checked(GatewaySettings)
    if errors:
        raise SettingsInvalid("\n".join(errors))
    logs.configure(settings.log, "gateway")
    traces.configure(settings.telemetry, "gateway")
    uvloop.run(app.serve(settings, port))


@routes.command()
def check(
    path: Annotated[Path | None, typer.Argument(help="The table's YAML file; default: the built-in table.")] = None,
) -> None:
    """Validate a route table, and print the services that must have a URL to serve it."""
    upstreams = sorted({route.upstream for route in file.read(path).routes})
    typer.echo(f"The table is valid. Its upstreams: {', '.join(upstreams)}.")


@cli.command()
def openapi(
    write: Annotated[Path | None, typer.Option(help="Write openapi.json and problems.json into this folder.")] = None,
) -> None:
    """Print the OpenAPI document of the gateway's own paths, or write its contracts to a folder."""
    entrance = Entrance(docs=False, url="", development=False)
    described = application(HealthChecks("gateway"), dict, Published(), entrance).openapi()
    document = json.dumps(described, indent=2, sort_keys=True) + "\n"
    if write is None:
        typer.echo(document, nl=False)
        return
    write.mkdir(parents=True, exist_ok=True)
    (write / "openapi.json").write_text(document, encoding="utf-8")
    listed = [explain(kind).model_dump() for kind in every_problem().values()]
    (write / "problems.json").write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    try:
        cli()
    except (SettingsInvalid, MissingSetting, PortTaken, file.TableInvalid) as error:
        typer.echo(str(error), err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
