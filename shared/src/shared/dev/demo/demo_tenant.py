"""Who walks the main job: the demo tenant's people the first time, somebody new at each `make demo`."""

import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field

from shared.dev.demo.main_job import Person, Walk, WalkFailed
from shared.dev.identity import write_private
from shared.dev.launcher.data_folder import DataFolder

__all__ = ["Demo", "WalkFailed", "as_demo_tenant", "as_someone_new"]


@dataclass
class Demo:
    """The demo tenant of a data folder and its sign-ins; the password is made for this folder and no other."""

    tenant: str
    usernames: list[str]
    password: str
    begun: bool = False
    walked: bool = False
    known: dict[str, str] = field(default_factory=dict)
    """The ids behind these names, once they exist."""

    @classmethod
    def of(cls, folder: DataFolder) -> "Demo":
        path = folder.keys / "demo.json"
        if path.is_file():
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        return cls("demo", ["ann", "bob"], _password())

    def keep(self, folder: DataFolder) -> None:
        write_private(folder.keys / "demo.json", json.dumps(asdict(self)))


async def as_demo_tenant(
    folder: DataFolder, gateway_url: str, say: Callable[[str], None], enlarge: Callable[[str], Awaitable[None]]
) -> None:
    """Found the demo tenant by walking the main job; `enlarge` raises its tier, by the slug. Raises WalkFailed."""
    demo = Demo.of(folder)
    if demo.begun:  # an earlier walk failed on the way: its names are taken
        mark = secrets.token_hex(2)
        demo = Demo(f"demo-{mark}", [f"ann-{mark}", f"bob-{mark}"], _password())
    demo.begun = True
    demo.keep(folder)
    ann, bob = (Person(name, demo.password) for name in demo.usernames)
    walk = Walk(gateway_url, say, tenant=demo.tenant, tenant_name="Demo Harbour")
    await _walked(walk, say, ann, bob)
    demo.known = {ann.username: ann.id, bob.username: bob.id, demo.tenant: walk.tenant_id}
    await enlarge(demo.tenant)
    demo.walked = True
    demo.keep(folder)


async def as_someone_new(gateway_url: str, say: Callable[[str], None]) -> None:
    """Walk the main job with a tenant and two people that nobody has seen before. Raises WalkFailed."""
    mark, password = secrets.token_hex(3), _password()
    ann, bob = Person(f"ann-{mark}", password), Person(f"bob-{mark}", password)
    walk = Walk(gateway_url, say, tenant=f"harbour-{mark}", tenant_name=f"Harbour {mark}")
    await _walked(walk, say, ann, bob)
    say(f"Signed up {ann.username} and {bob.username} of tenant harbour-{mark}, password {password}")


async def _walked(walk: Walk, say: Callable[[str], None], ann: Person, bob: Person) -> None:
    say("Running the main job through the gateway:")
    began = time.perf_counter()
    await walk.main_job(ann, bob)
    say(f"The main job succeeded in {time.perf_counter() - began:.1f} s.")


def _password() -> str:
    """Made at random, and holding what any rule asks for: upper, lower, digit."""
    return f"Sail-{secrets.token_hex(6)}-7"
