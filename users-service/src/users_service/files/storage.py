"""Where the bytes are: a folder or an S3 bucket, streamed both ways, never held whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from shared.problems import ServiceUnavailable

_READ_BYTES: Final = 256 * 1024
_LOCAL_PART_BYTES: Final = 1024 * 1024
_REMOTE_PART_BYTES: Final = 5 * 1024 * 1024  # S3's least for a part of a multipart upload
_PARTS_AT_ONCE: Final = 2


class StorageUnavailable(ServiceUnavailable):
    """The file storage does not respond; nothing was changed."""

    status, title = 503, "The file storage is unavailable"


class Writer(Protocol):
    """An object on its way: it is there once `close` returned, and never where the writer is dropped before."""

    async def write(self, content: bytes, /) -> int: ...
    async def close(self) -> None: ...


class Storage:
    """Objects by key. Raises StorageUnavailable where the storage fails."""

    def __init__(self, url: str) -> None:
        local = url.startswith("file:")
        self._store = from_url(url, mkdir=True) if local else from_url(url)
        self._part_bytes = _LOCAL_PART_BYTES if local else _REMOTE_PART_BYTES

    def writer(self, key: str) -> Writer:
        return _Translating(
            obstore.open_writer_async(self._store, key, buffer_size=self._part_bytes, max_concurrency=_PARTS_AT_ONCE)
        )

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The object's bytes from `start` up to `end`, in pieces. Raises FileNotFoundError before the first."""
        with _translated():
            found = await obstore.get_async(self._store, key, options={"range": (start, end)})
        return _pieces(found)

    async def check(self) -> str:
        """For the health page; reads an object that does not exist."""
        with _translated(), suppress(FileNotFoundError):
            await obstore.head_async(self._store, "health")
        return "answers"

    async def remove(self, key: str) -> None:
        """Remove the object; one that is not there is removed already."""
        await asyncio.to_thread(self._drop_unfinished, key)
        with _translated():
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    def _drop_unfinished(self, key: str) -> None:
        """Where a process was killed in mid-upload a folder keeps the parts; S3 has a lifecycle rule for them."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            Path(self._store.prefix, f"{key}#1").unlink(missing_ok=True)


class _Translating:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def write(self, content: bytes, /) -> int:
        with _translated():
            return await self._writer.write(content)

    async def close(self) -> None:
        with _translated():
            await self._writer.close()


async def _pieces(found: "obstore.GetResult") -> AsyncIterator[bytes]:
    async for piece in found.stream(min_chunk_size=_READ_BYTES):
        yield bytes(piece)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise StorageUnavailable from error
