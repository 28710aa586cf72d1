"""One page in headless Chromium, driven by the DevTools protocol over a WebSocket.

Every request that left the browser is in `requested`, every complaint of a page's scripts or of a failed load in
`complaints`. Requests that the content security policy blocks are not sent, so they are in neither.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from shared.testing import eventually


def chromium() -> str | None:
    """The installed browser, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    def __init__(self, socket: ClientConnection) -> None:
        self._requests: dict[str, str] = {}
        self.complaints: list[str] = []
        self._socket = socket
        self._last_id = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    @property
    def requested(self) -> list[str]:
        """The URLs of all requests that were sent."""
        return list(self._requests.values())

    async def receive(self) -> None:
        """Read what the browser sends until the connection ends."""
        async for frame in self._socket:
            message = json.loads(frame)
            if (waiting := self._answers.pop(message.get("id", 0), None)) is not None:
                waiting.set_result(message)
            else:
                self._record(message.get("method"), message.get("params", {}))

    def _record(self, event: str, params: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self._requests[params["requestId"]] = params["request"]["url"]
        elif event == "Network.loadingFailed" and params.get("blockedReason") == "csp":
            self._requests.pop(params["requestId"], None)
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])
        elif (
            event == "Log.entryAdded"
            and params["entry"]["level"] == "error"
            and params["entry"]["source"] != "security"
        ):
            self.complaints.append(params["entry"]["text"])

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        self._last_id += 1
        answer = self._answers[self._last_id] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        message = await answer
        if "error" in message:
            raise AssertionError(f"{method}: {message['error']}")
        result: dict[str, Any] = message["result"]
        return result

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page. Raises AssertionError where it throws."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    async def until(self, script: str, *, within_s: float = 20) -> Any:
        """The expression's value as soon as it is true."""
        return await eventually(lambda: self.run(script), within_s=within_s, saying=script)

    async def click(self, selector: str) -> None:
        """Click the first element of the selector, once it exists."""
        await self.until(f"!!document.querySelector({selector!r})")
        await self.run(f"document.querySelector({selector!r}).click()")

    async def type(self, selector: str, text: str) -> None:
        """Type into the field as a keyboard does."""
        await self.until(f"!!document.querySelector({selector!r})")
        await self.run(f"document.querySelector({selector!r}).focus()")
        await self.send("Input.insertText", text=text)


async def press(page: Page, key: str) -> None:
    """Press Enter, Tab or Space."""
    text, code = {"Enter": ("\r", 13), "Tab": ("", 9), "Space": (" ", 32)}[key]
    named = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
    for kind in ("keyDown", "keyUp"):
        await page.send("Input.dispatchKeyEvent", type=kind, **named, **({"text": text} if text else {}))


@asynccontextmanager
async def open_page(program: str, folder: Path) -> AsyncIterator[Page]:
    """A page of a browser of its own, whose profile is in `folder`."""
    process = await asyncio.create_subprocess_exec(
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            url = await _page_url(process)
        async with connect(url, max_size=None) as socket:
            page = Page(socket)
            reading = asyncio.create_task(page.receive())
            for domain in ("Page", "Network", "Runtime", "Log"):
                await page.send(f"{domain}.enable")
            try:
                yield page
            finally:
                await page.send("Browser.close")
                reading.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def _page_url(process: asyncio.subprocess.Process) -> str:
    """The WebSocket of the browser's first page."""
    assert process.stderr is not None
    browser = ""
    while "DevTools listening on " not in browser:
        line = await process.stderr.readline()
        assert line, "the browser ended before it listened"
        browser = line.decode()
    browser = browser.partition("listening on ")[2].strip()
    async with connect(browser) as socket:
        await socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        found = json.loads(await socket.recv())["result"]["targetInfos"]
    target = next(one["targetId"] for one in found if one["type"] == "page")
    return f"{browser.partition('/devtools/')[0]}/devtools/page/{target}"
