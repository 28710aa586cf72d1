"""`make up RELOAD=1`: a change in a service's source restarts its processes, a change in shared/ all of them."""

from pathlib import Path

from watchfiles import PythonFilter, awatch

from shared.dev.launcher import Fleet


async def restart_on_change(run: Fleet) -> None:
    """Watch the sources until cancelled."""
    folders = {service.folder: (service.name, *service.processes) for service in run.services.values()}
    sources = [run.plan.root / folder / "src" for folder in ("shared", *folders)]
    async for changes in awatch(*sources, watch_filter=PythonFilter()):
        touched = {Path(path).relative_to(run.plan.root).parts[0] for _, path in changes}
        everyone = [name for names in folders.values() for name in names]
        names = everyone if "shared" in touched else [name for folder in touched for name in folders.get(folder, ())]
        run.screen.say(f"changed: {', '.join(sorted(touched))}; restarting {', '.join(names)}")
        await run.restart(names)
