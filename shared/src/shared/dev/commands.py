"""The verbs of the launcher: up, demo, run, command, token, logs, doctor, reset."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import typer
from dotenv import dotenv_values
from watchfiles import PythonFilter, awatch

from shared.dev.checks import doctor as checkup
from shared.dev.demo import demo_tenant
from shared.dev.demo.development_tokens import SANDBOX, development_token
from shared.dev.demo.registered_person import register_alone
from shared.dev.fleet import fleet, processes, repository
from shared.dev.launcher import handover
from shared.dev.launcher.data_folder import AlreadyRuns, DataFolder, FolderUnusable
from shared.dev.launcher.logs import Screen, story
from shared.dev.launcher.ports import NoSuchListener, PortTaken
from shared.dev.launcher.running_fleet import Fleet, LaunchFailed, Plan, running_fleet
from shared.dev.servers.binaries import BinaryMissing
from shared.dev.servers.server import ServerFailed

line = typer.Typer(
    name="shared.dev", help="Run the fleet on this machine.", no_args_is_help=True, pretty_exceptions_enable=False
)
_EXPECTED = (
    AlreadyRuns, BinaryMissing, FolderUnusable, LaunchFailed, NoSuchListener, PortTaken, ServerFailed,
    demo_tenant.WalkFailed,
)  # fmt: skip

T = TypeVar("T")
Ports = Annotated[list[str] | None, typer.Option(help="Use another port for a listener: chat=9003.")]
Data = Annotated[Path | None, typer.Option(help="The data folder; default: .data in the repository.")]


@line.command()
def up(
    without: Annotated[list[str] | None, typer.Option(help="Leave this process out, for a debugger.")] = None,
    replicas: Annotated[list[str] | None, typer.Option(help="Run several of a process: chat=2.")] = None,
    port: Ports = None,
    reload: Annotated[bool, typer.Option(help="Restart a service when its source changes.")] = False,
    limits: Annotated[
        Literal["wide", "real"],
        typer.Option(help="Rate limits a hundred times as wide as in production, or real."),
    ] = "wide",
    data: Data = None,
) -> None:
    """Start the whole fleet; the first time, run the main job through it."""
    left_out, there = frozenset(_names(without)), processes(fleet(repository()).values())
    if unknown := left_out - there.keys():
        raise typer.BadParameter(f"There is no process {', '.join(sorted(unknown))}; the fleet has {', '.join(there)}.")
    real = limits == "real"
    plan = Plan(repository(), _data(data), _numbers(replicas), left_out, _numbers(port), real_limits=real)
    if reload:
        plan = replace(plan, fork=False)  # a fork would not see a change of shared/
    _run(_up(plan, reload))


async def _up(plan: Plan, reload: bool) -> None:
    screen = Screen(sys.stdout)
    screen.quiet = True
    await handover.ask_to_join(DataFolder(plan.data), plan.without, screen.say)
    async with running_fleet(plan, screen) as run:
        demo = demo_tenant.Demo.of(run.around.folder)
        if not demo.walked and plan.without:
            screen.say(f"The main job needs {', '.join(sorted(plan.without))}. Run it later: make demo")
        elif not demo.walked:
            await _first_walk(run)
        _welcome(run, demo_tenant.Demo.of(run.around.folder))
        screen.quiet = False
        await _until_asked_to_stop(_restart_on_change(run) if reload else None)
        screen.say("Stopping …")
        screen.quiet = True
    screen.say(f"Everything has stopped. The data stays in {plan.data.absolute()}; to remove it: make reset")


async def _restart_on_change(run: Fleet) -> None:
    """Restart a service when its source changes, and all of them when shared/ does, until cancelled."""
    folders = {service.folder: (service.name, *service.processes) for service in run.services.values()}
    sources = [run.plan.root / folder / "src" for folder in ("shared", *folders)]
    async for changes in awatch(*sources, watch_filter=PythonFilter()):
        touched = {Path(path).relative_to(run.plan.root).parts[0] for _, path in changes}
        everyone = [name for names in folders.values() for name in names]
        names = everyone if "shared" in touched else [name for folder in touched for name in folders.get(folder, ())]
        run.screen.say(f"{', '.join(sorted(touched))} changed; restarting {', '.join(names)} …")
        await run.restart(names)


async def _first_walk(run: Fleet) -> None:
    """Run the main job. A failure is reported and leaves the fleet running, so that its cause can be found."""

    async def enlarge(slug: str) -> None:
        await run.command("users", f"tenants set {slug} --tier enterprise")

    try:
        await demo_tenant.as_demo_tenant(run.around.folder, run.around.public_url, run.screen.say, enlarge)
    except (demo_tenant.WalkFailed, LaunchFailed) as failed:
        run.screen.say(f"The main job failed: {failed}\nThe fleet is still running. Fix the cause, then: make demo")


def _welcome(run: Fleet, demo: "demo_tenant.Demo") -> None:
    say = run.screen.say
    if waiting := run.waiting():
        say(f"Not ready until {', '.join(sorted(run.plan.without))} runs: {', '.join(sorted(waiting))}")
    say("")
    say(f"Gateway   {run.around.public_url}")
    if demo.walked:
        say(f"Sign in   {' or '.join(demo.usernames)} of tenant {demo.tenant}, password {demo.password}")
    say(f"Mail      {run.mail_url}")
    say("Next      make demo runs the main job again · make logs R=<X-Request-ID> · Ctrl-C stops everything")
    say("")


@line.command()
def demo(data: Data = None) -> None:
    """Run the main job through the running fleet again, with new people."""
    with _errors_as_sentences():
        running = DataFolder(_data(data)).running()
    if running is None or not running.gateway_url:
        typer.echo("No fleet is running on this data folder. Start one: make up", err=True)
        raise typer.Exit(1)
    _run(demo_tenant.as_someone_new(running.gateway_url, Screen(sys.stdout).say))


@line.command()
def run(
    service: Annotated[str, typer.Argument(help="The name of a service: chat.")],
    port: Ports = None,
    data: Data = None,
) -> None:
    """Run one service alone with the servers that it needs, or the process that a running fleet left out."""
    folder = DataFolder(_data(data))
    running = _run(handover.running_launcher(folder))
    if running is not None and service in running.without:
        _become(service, folder)
    if service not in fleet(repository()):
        raise typer.BadParameter(f"There is no service {service}; the fleet has {', '.join(fleet(repository()))}.")
    if running is not None and running.gateway_url:
        raise typer.BadParameter(f"{service} runs in a fleet. Stop the fleet, then: make up WITHOUT={service}")
    if _run(run_alone(service, Plan(repository(), folder.path, ports=_numbers(port)))):
        _become(service, folder)


async def run_alone(service: str, plan: Plan) -> bool:
    """Run the service until this process is asked to stop; True once a fleet that leaves it out has started."""
    screen, join = Screen(sys.stdout), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(handover.JOIN, join.set)
    async with running_fleet(plan, screen, only=service) as run:
        await register_alone(run)
        url = f"http://127.0.0.1:{run.around.ports[service]}"
        about = f"its API is at {url}/docs" if run.services[service].database else "no service is behind it"
        screen.say(f"{service} runs alone on {url}; {about}. Get a token for it: make token USER=ann")
        await join.wait()
        screen.say(f"A fleet without {service} is starting; {service} joins it …")
        screen.quiet = True
    if not await handover.left_out(DataFolder(plan.data), service):
        raise LaunchFailed(f"No fleet without {service} has started. Start the service again: make run-{service}")
    return True


def _become(process: str, folder: DataFolder) -> NoReturn:
    """Turn into the process that a running fleet left out, with the environment that was written for it."""
    service, verb = processes(fleet(repository()).values())[process]
    _execute(service.package, [verb], folder.environment_file(process))


def _execute(package: str, arguments: list[str], environment_file: Path) -> NoReturn:
    environment = {name: value or "" for name, value in dotenv_values(environment_file).items()}
    os.chdir(repository())
    command = [sys.executable, "-m", package, *arguments]
    os.execve(sys.executable, command, {**os.environ, **environment})  # noqa: S606 - our own service


@line.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def command(
    service: Annotated[str, typer.Argument(help="The name of a service: chat.")],
    arguments: Annotated[list[str], typer.Argument(help="A command of the service: events list --parked.")],
    data: Data = None,
) -> None:
    """Run a command of a service with the environment, such as DATABASE_URL, that it has in the running fleet."""
    folder, services = DataFolder(_data(data)), fleet(repository())
    if service not in services:
        raise typer.BadParameter(f"There is no service {service}; the fleet has {', '.join(services)}.")
    with _errors_as_sentences():
        running = folder.running()
    if running is None or running.alone not in ("", service):
        typer.echo(f"{service} is not running on this data folder. Start it: make up, or make run-{service}", err=True)
        raise typer.Exit(1)
    _execute(services[service].package, arguments, folder.environment_file(service))


@line.command()
def token(
    user: Annotated[str, typer.Argument(help="The username; the same name always has the same id.")] = "dev",
    tenant: Annotated[
        str,
        typer.Option(help="The slug of the token's tenant; default: the demo tenant, or that of a service alone."),
    ] = "",
    role: Annotated[list[str] | None, typer.Option(help="A role; repeat it for several. Default: admin.")] = None,
    data: Data = None,
) -> None:
    """Print an access token of the development issuer, for a service that runs alone."""
    folder = DataFolder(_data(data))
    with _errors_as_sentences():
        running = folder.running()
        public_url = running.public_url if running else "http://localhost:8000"
        known = demo_tenant.Demo.of(folder).known
        named = tenant or ("demo" if known else SANDBOX)
        typer.echo(development_token(folder, public_url, user, tenant=named, roles=role or ["admin"], known=known))


@line.command()
def logs(
    request_id: Annotated[str, typer.Argument(help="The X-Request-ID header of a response.")] = "", data: Data = None
) -> None:
    """Print the log lines of one request, from all processes, in order of time."""
    if not request_id:
        raise typer.BadParameter("Name the request by the X-Request-ID header of its response: make logs R=<id>")
    request_id = request_id.removeprefix("R=")
    screen = Screen(sys.stdout)
    told = story(DataFolder(_data(data)).logs, request_id)
    for process, entry in told:
        screen.show_parsed(process, entry)
    if not told:
        typer.echo(f"No log line belongs to the request {request_id}; name an X-Request-ID header.", err=True)
        raise typer.Exit(1)


@line.command()
def doctor(data: Data = None) -> None:
    """List what this machine lacks, and the commands that install it."""
    with _errors_as_sentences():
        fine = checkup.report(checkup.findings(repository(), DataFolder(_data(data))), typer.echo)
    if not fine:
        raise typer.Exit(1)


@line.command()
def reset(data: Data = None) -> None:
    """Remove the development data: databases, files, keys, logs."""
    folder = DataFolder(_data(data))
    with _errors_as_sentences():
        folder.remove()
    typer.echo(f"Removed {folder.path}.")


def _data(named: Path | None) -> Path:
    return named or repository() / ".data"


def _names(given: list[str] | None) -> list[str]:
    """What was given one by one, or several joined by commas."""
    return [name for name in ",".join(given or ()).split(",") if name]


def _numbers(pairs: list[str] | None) -> dict[str, int]:
    """`["chat=2"]` → `{"chat": 2}`."""
    found: dict[str, int] = {}
    for pair in _names(pairs):
        name, _, number = pair.partition("=")
        if not number.isdigit() or int(number) < 1:
            raise typer.BadParameter(f"{pair} is not a name and a number, such as chat=2.")
        found[name] = int(number)
    return found


def _run(main: Coroutine[Any, Any, T]) -> T | None:
    """The result of `main`; None if it was asked to stop."""
    with _errors_as_sentences():
        return asyncio.run(_interruptible(main))


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    """Print an error that a person can correct as a sentence, not as a traceback."""
    try:
        yield
    except _EXPECTED as error:
        typer.echo(str(error), err=True)
        sys.exit(1)


async def _interruptible(main: Coroutine[Any, Any, T]) -> T | None:
    """Let Ctrl-C and SIGTERM end `main` in order, at any moment: all that it started ends with it."""
    task, loop = asyncio.ensure_future(main), asyncio.get_running_loop()
    asked: list[int] = []

    def stop(number: int) -> None:
        if not asked:  # a second one would cut the ending short; each of its steps is bounded in time anyway
            task.cancel()
        asked.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def _until_asked_to_stop(meanwhile: Coroutine[Any, Any, None] | None) -> None:
    """Wait for Ctrl-C or SIGTERM, which cancel the wait and go no further up."""
    try:
        if meanwhile is not None:
            await meanwhile
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return
