"""The launcher on a fleet of tiny services: what it starts, keeps alive, refuses and leaves behind."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from dotenv import dotenv_values

from shared.clients import PlainClient
from shared.dev.commands import run_alone
from shared.dev.fleet import repository
from shared.dev.launcher import handover
from shared.dev.launcher.data_folder import AlreadyRuns, DataFolder, FolderUnusable, RunningFleet
from shared.dev.launcher.logs import Screen, story
from shared.dev.launcher.ports import NoSuchListener, PortTaken, is_free
from shared.dev.launcher.running_fleet import Fleet, LaunchFailed, Plan, running_fleet
from shared.dev.servers.guard import lives
from shared.dev.servers.server import free_port
from shared.testing import eventually
from shared.testing.processes import ended, gone, output, started


class Recorded(Screen):
    """A screen that can be read afterwards."""

    def __init__(self) -> None:
        self.paper = io.StringIO()
        super().__init__(self.paper)

    @property
    def text(self) -> str:
        return self.paper.getvalue()


@pytest.fixture
def screen() -> Recorded:
    return Recorded()


async def reported(url: str | None) -> dict[str, Any]:
    """What the tiny service that answers there reports of itself."""
    async with httpx2.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{url}/")).json()
        return found


async def about(url: str | None) -> dict[str, str]:
    """The environment of the tiny service that answers there."""
    found: dict[str, str] = (await reported(url))["env"]
    return found


def parents(fleet: Fleet) -> set[int]:
    """The processes that the fleet's processes are children of."""
    return {psutil.Process(child.pid).ppid() for child in fleet.children.values()}


async def test_every_process_runs_with_its_own_environment(plan: Plan, screen: Recorded) -> None:
    wide = replace(plan, replicas={"chat": 2, "gateway": 2, "worker": 2})
    async with running_fleet(wide, screen) as fleet:
        names = {"gateway", "gateway-2", "auth", "users", "chat", "chat-2", "worker", "worker-2", "tasks", "mail"}
        assert set(fleet.children) == names
        assert len(fleet.gateway_urls) == 2
        chat, gateway = await about(fleet.children["chat"].command.url), await about(fleet.gateway_urls[1])
        pids = [child.pid for child in fleet.children.values() if child.pid]
        assert json.loads(gateway["UPSTREAMS__CHAT"]) == [fleet.children[n].command.url for n in ("chat", "chat-2")]
        auth, users = (fleet.children[name].command.url for name in ("auth", "users"))
    assert chat["REVOCATIONS__FEEDS"] == '["auth", "users"]'
    assert (chat["SERVICES__AUTH"], chat["SERVICES__USERS"]) == (auth, users)
    assert chat["IDENTITY__JWKS_URL"] == f"{auth}/keys.json"
    assert "SERVICES__GATEWAY" not in chat
    assert chat["IDENTITY__KEY_FILE"].endswith("chat.pem")
    assert "DATABASE_OWNER_URL" not in chat
    assert "DATABASE_URL" not in gateway
    assert gateway["LIMITS__GATEWAYS"] == "2"
    assert len(pids) == len(names)
    assert all(map(gone, pids))


linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


@linux
async def test_processes_are_forks_of_one_that_has_imported_what_they_share(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(replace(plan, replicas={"chat": 2}), screen) as fleet:
        assert len(parents(fleet)) == 1
        assert os.getpid() not in parents(fleet)
        for child in fleet.children.values():
            assert child.pid is not None
            assert os.getpgid(child.pid) == child.pid  # a signal reaches this process and its own children only
            if child.name != "mail":
                assert (await reported(child.command.url))["inherited"]
        assert psutil.Process(fleet.children["chat-2"].pid).name() == "tiny_chat serve"


@linux
async def test_processes_start_again_when_the_one_they_are_forked_from_dies(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        server, before = parents(fleet).pop(), {child.pid for child in fleet.children.values()}
        os.kill(server, signal.SIGKILL)
        await eventually(lambda: all(child.pid not in (None, *before) for child in fleet.children.values()))
        await fleet.ready()
        assert server not in parents(fleet)


async def test_without_forks_each_process_imports_for_itself(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(replace(plan, fork=False), screen) as fleet:
        assert parents(fleet) == {os.getpid()}
        chat = await reported(fleet.children["chat"].command.url)
        assert not chat["inherited"]
        assert chat["env"]["IDENTITY__KEY_FILE"].endswith("chat.pem")


async def test_keys_and_trust_are_for_their_owner_only(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        keys = fleet.around.folder.keys
        trust = json.loads((keys / "trust.json").read_text())
        assert trust["services"]["gateway"]["acts_with"] == ["*"]
        assert trust["services"]["chat"]["grants"] == ["revocations:read"]
        assert "acts_with" not in trust["services"]["chat"]
        assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}


async def test_a_proxy_in_the_environment_is_not_asked_for_what_runs_here(
    plan: Plan, screen: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running_fleet(plan, screen) as fleet:
        client = PlainClient()
        assert (await client.json(f"{fleet.children['chat'].command.url}/"))["path"] == "/"
        await client.close()


async def test_a_service_that_dies_is_started_again(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        chat = fleet.children["chat"]
        before = chat.pid
        chat.signal(signal.SIGKILL)
        await eventually(lambda: chat.pid not in (None, before))
        await fleet.ready()
        assert chat.restarts == 1
    assert "chat was ended by SIGKILL; restarting it in 0.5 s" in screen.text


async def test_a_second_launcher_says_that_one_runs(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        with pytest.raises(AlreadyRuns, match=fleet.around.public_url):
            async with running_fleet(plan, screen):
                pass
        with pytest.raises(AlreadyRuns):
            DataFolder(plan.data).remove()
    DataFolder(plan.data).remove()
    assert not plan.data.exists()


async def test_a_busy_port_is_named_with_its_holder(plan: Plan, screen: Recorded) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} \(chat\) is used by .* \(pid \d+\)"):
            async with running_fleet(replace(plan, ports={"chat": port}), screen):
                pass
        left_out = replace(plan, ports={"chat": port}, without=frozenset({"chat"}))
        async with running_fleet(left_out, screen):
            pass  # the port is for the debugger, who may have it already


def test_a_listener_on_the_other_localhost_takes_the_port_too() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", free_port()))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        assert not is_free(taken.getsockname()[1])
    assert is_free(free_port())


async def test_a_port_for_what_there_is_not_is_refused(plan: Plan, screen: Recorded) -> None:
    with pytest.raises(NoSuchListener, match=r"There is no listener nothing; PORT takes .*chat.*, mail"):
        async with running_fleet(replace(plan, ports={"nothing": 1}), screen):
            pass


@pytest.mark.parametrize("replicas", [{"nothing": 2}, {"chat": 0}])
async def test_replicas_of_what_there_is_not_are_refused(
    plan: Plan, screen: Recorded, replicas: dict[str, int]
) -> None:
    with pytest.raises(LaunchFailed, match=r"REPLICAS=.* is not possible: name one of .*chat"):
        async with running_fleet(replace(plan, replicas=replicas), screen):
            pass


async def test_a_service_left_out_gets_its_environment_in_a_file(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(replace(plan, without=frozenset({"chat"})), screen) as fleet:
        assert "chat" not in fleet.children
        assert DataFolder(plan.data).running() == fleet.announcement()
        path = fleet.around.folder.environment_file("chat")
        wanted = fleet.around.settings(fleet.services["chat"], fleet.around.ports["chat"])
        shell = started("/bin/sh", "-c", f"set -a; . '{path}'; exec env")
        shown = output(shell).read().decode()
        ended(shell)
    assert path.stat().st_mode & 0o777 == 0o600
    assert dotenv_values(path) == wanted | {"LOG__FORMAT": "console"}
    assert f"STORAGE_URL={wanted['STORAGE_URL']}" in shown.splitlines()


async def test_a_command_finds_the_environment_of_a_service_that_runs(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        environment = dotenv_values(fleet.around.folder.environment_file("users"))
        assert environment["DATABASE_URL"] == fleet.backing.database_url_for("users")


async def test_a_worker_can_be_left_out_and_its_service_stays(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(replace(plan, without=frozenset({"worker"})), screen) as fleet:
        assert "chat" in fleet.children
        assert "worker" not in fleet.children
        assert "WORKER__PORT" in dotenv_values(fleet.around.folder.environment_file("worker"))
    assert "python -m tiny_chat worker" in screen.text


@pytest.mark.parametrize(
    ("absent", "waiting"),
    [
        ("users", {"chat", "worker"}),  # they follow its revocations
        ("auth", {"chat", "worker", "users", "tasks", "gateway"}),  # all verify tokens with its keys
        ("tasks", set()),
    ],
)
async def test_what_waits_for_a_service_left_out_is_started_and_named(
    plan: Plan, screen: Recorded, absent: str, waiting: set[str]
) -> None:
    async with running_fleet(replace(plan, without=frozenset({absent})), screen) as fleet:
        assert fleet.waiting() == waiting
    assert ("Started after" in screen.text) == bool(waiting)


async def test_a_service_that_runs_alone_joins_a_fleet_that_leaves_it_out(plan: Plan, screen: Recorded) -> None:
    folder = DataFolder(plan.data)
    alone = asyncio.create_task(run_alone("chat", plan))
    await eventually(lambda: (running := folder.running()) is not None and running.alone == "chat")
    await handover.ask_to_join(folder, {"users"}, screen.say)
    assert folder.running() is not None  # only a fleet without it may ask
    await handover.ask_to_join(folder, {"chat"}, screen.say)
    async with running_fleet(replace(plan, without=frozenset({"chat"})), screen):
        assert await alone


async def test_a_launcher_that_is_starting_is_waited_for(plan: Plan, screen: Recorded) -> None:
    folder = DataFolder(plan.data)
    with folder.held() as lock:
        asked = asyncio.create_task(handover.running_launcher(folder))
        await asyncio.sleep(0)
        assert not asked.done()
        lock.announce(RunningFleet(pid=1, gateway_url="", mail_url="", without=["chat"]))
        running = await asked
    assert running is not None
    assert running.without == ["chat"]


async def test_a_server_that_dies_is_told_of(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        process = fleet.backing.servers["valkey"].process
        assert process is not None
        process.kill()
        await eventually(lambda: "Valkey was ended by SIGKILL and is not restarted" in screen.text)
    assert screen.text.count("is not restarted") == 1  # the bus ended because it was asked to


async def test_a_data_folder_that_cannot_be_used_is_named(plan: Plan, screen: Recorded) -> None:
    plan.data.write_text("a file where the folder should be")
    with pytest.raises(FolderUnusable, match=rf"The data folder {plan.data} cannot be used: .*--data"):
        async with running_fleet(plan, screen):
            pass


def test_what_make_is_told_is_no_setting_of_a_service() -> None:
    command = ["make", "--silent", "--eval", "probe: ; @echo limits=$$LIMITS", "probe", "LIMITS=real"]
    done = subprocess.run(command, cwd=repository(), capture_output=True, text=True, check=True)  # noqa: S603 - our Makefile
    assert done.stdout == "limits=\n"


async def test_one_service_runs_alone(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen, only="chat") as fleet:
        assert set(fleet.children) == {"chat", "worker"}
        assert (fleet.announcement().alone, fleet.announcement().mail_url) == ("chat", "")
        assert fleet.announcement().gateway_url == ""
        environment = await about(fleet.children["chat"].command.url)
        worker = await about(fleet.children["worker"].command.url)
    assert environment["REVOCATIONS__FEEDS"] == "[]"
    assert worker["WORKER__OWNERS"] == "token"  # its jobs wait for nobody who is not there
    assert "IDENTITY__JWKS_URL" not in environment


async def test_a_service_that_never_starts_is_named(plan: Plan, screen: Recorded) -> None:
    (plan.root / "tiny_users" / "__main__.py").write_text(
        "import sys\nif sys.argv[1] == 'serve':\n    sys.exit('no such setting')\n"
    )
    with pytest.raises(LaunchFailed, match=r"(?s)users did not become ready.*no such setting"):
        async with running_fleet(replace(plan, ready_s=10), screen):
            pass


async def test_a_migration_that_fails_is_named(plan: Plan, screen: Recorded) -> None:
    (plan.root / "tiny_auth" / "__main__.py").write_text("import sys\nsys.exit('no such table')\n")
    with pytest.raises(
        LaunchFailed, match=r"(?s)A command of auth failed.*python -m tiny_auth db create failed.*no such table"
    ):
        async with running_fleet(plan, screen):
            pass


async def test_lines_are_kept_as_they_came_and_shown_readably(plan: Plan, screen: Recorded) -> None:
    async with running_fleet(plan, screen) as fleet:
        logs = fleet.around.folder.logs
    assert json.loads((logs / "chat.log").read_text().splitlines()[0])["event"] == "serve"
    assert "chat      12:00:00 serve" in screen.text
    assert story(logs, "unknown") == []


_LAUNCHER = """
import asyncio, sys
from pathlib import Path
from shared.dev.launcher.running_fleet import Plan, running_fleet
from shared.dev.launcher.logs import Screen

async def main(root):
    named = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1", "BUS": "valkey"}
    async with running_fleet(Plan(root, root / ".data", free_ports=True, environment=named), Screen(sys.stderr)):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_kill_9_of_the_launcher_leaves_no_process(tiny_root: Path) -> None:
    launcher = started(sys.executable, "-c", _LAUNCHER, str(tiny_root))
    assert output(launcher).readline() == b"ready\n"
    family = psutil.Process(launcher.pid).children(recursive=True)
    assert len(family) > 8
    ended(launcher)
    await eventually(lambda: not any(map(lives, family)), within_s=20, saying="all have ended")
    assert DataFolder(tiny_root / ".data").running() is None
