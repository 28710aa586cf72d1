"""Second factors as a person uses them: an authenticator app, a passkey, recovery codes."""

import time
from dataclasses import dataclass, field
from typing import Any

import pyotp

from .authenticator import Authenticator
from .door import Door, Reply


@dataclass
class App:
    """An authenticator app. It has two codes that work one after the other: of this time step and of the next."""

    secret: str
    steps: int = field(default=0)

    def code(self) -> str:
        code = self.code_in(self.steps)
        self.steps += 1
        return code

    def code_in(self, steps: int) -> str:
        """The code of a time step, counted from now."""
        return str(pyotp.TOTP(self.secret).at(int(time.time()), counter_offset=steps))

    def wrong_code(self) -> str:
        near = {self.code_in(steps) for steps in range(-3, 4)}
        return next(code for code in (f"{number:06}" for number in range(10)) if code not in near)


async def post(door: Door, path: str, tokens: dict[str, Any] | None = None, **body: Any) -> Reply:
    headers = {} if tokens is None else door.bearer(tokens)
    return await door.client.post(f"/auth/mfa{path}", json=body, headers=headers)


async def add_app(door: Door, tokens: dict[str, Any], name: str = "Phone") -> tuple[App, list[str]]:
    """Adds an authenticator app; its recovery codes, if they came with it."""
    enrolled = await post(door, "/totp", tokens, name=name)
    assert enrolled.status_code == 201, enrolled.text
    app = App(enrolled.json()["secret"])
    confirmed = await post(door, f"/totp/{enrolled.json()['id']}/confirm", tokens, code=app.code())
    assert confirmed.status_code == 200, confirmed.text
    await door.run("UPDATE totp_factors SET last_step = last_step - 10")  # that was five minutes ago
    app.steps = 0
    return app, confirmed.json()["recovery_codes"]


async def add_passkey(door: Door, tokens: dict[str, Any], **traits: Any) -> Authenticator:
    device = Authenticator(**traits)
    options = (await post(door, "/passkeys/options", tokens)).json()["options"]
    added = await post(door, "/passkeys", tokens, name="Laptop", credential=device.create(options))
    assert added.status_code == 201, added.text
    return device


async def asked(door: Door, name: str = "ann", **more: Any) -> dict[str, Any]:
    """Signs in by password and is asked for the second factor: the problem."""
    reply = await door.login(name, **more)
    assert (reply.status_code, reply.json()["code"]) == (401, "mfa_required"), reply.text
    body: dict[str, Any] = reply.json()
    return body


async def verify(door: Door, mfa_token: str, method: str, **proof: Any) -> Reply:
    return await post(door, "/verify", mfa_token=mfa_token, method=method, **proof)


async def fresh(door: Door, tokens: dict[str, Any]) -> dict[str, Any]:
    """The session's next tokens."""
    body: dict[str, Any] = (await door.refresh(tokens["refresh_token"])).json()
    return body
