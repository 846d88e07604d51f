"""An object store in memory, as Airflow sees one: an object is there when its last part is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk.io import store as stores
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractBufferedFile

CONNECTION = "shop"


class ObjectStore(AbstractFileSystem):
    """Takes objects in parts, and keeps them unless ``forgetful``.

    :ivar parts: the size of each part that was sent, in order.
    :ivar pending: uploads that were begun and neither ended nor discarded: what is paid for, and never seen.
    :ivar breaks_at: the part, counted from 1, at which the connection is lost; ``None`` is never.
    :ivar listed: lengths of objects as they were listed; they are read no further, as with gcsfs and adlfs.
    :ivar blocks: how much is asked for at once, for each object that was opened to be read.
    """

    protocol = "s3"
    cachable = False

    def __init__(self, *, forgetful: bool = False, breaks_at: int | None = None) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.parts: list[int] = []
        self.pending = 0
        self.breaks_at = breaks_at
        self.forgetful = forgetful
        self.listed: dict[str, int] = {}
        self.blocks: list[int | None] = []

    def invalidate_cache(self, path: str | None = None) -> None:  # noqa: ARG002 - fsspec's
        self.listed.clear()

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **kwargs: Any) -> Any:
        if "r" in mode:
            self.blocks.append(block_size)
            return io.BytesIO(self._object(path)[: self.listed.get(path)])
        return _Upload(self, path, mode, block_size=block_size, **kwargs)

    def info(self, path: str, **_kwargs: Any) -> dict[str, Any]:
        if path not in self.objects and self._below(path):
            return {"name": path, "size": 0, "type": "directory"}
        return {"name": path, "size": len(self._object(path)), "type": "file"}

    def ls(self, path: str, detail: bool = True, **_kwargs: Any) -> Any:
        names = sorted({f"{path.rstrip('/')}/{name.partition('/')[0]}" for name in self._below(path)})
        if not names:
            raise FileNotFoundError(path)
        infos = [self.info(name) for name in names]
        self.listed.update({info["name"]: info["size"] for info in infos if info["type"] == "file"})
        return infos if detail else names

    def _below(self, path: str) -> list[str]:
        folder = f"{path.rstrip('/')}/"
        return [name.removeprefix(folder) for name in self.objects if name.startswith(folder)]

    def _rm(self, path: str) -> None:
        del self.objects[path]

    def _object(self, path: str) -> bytes:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]


class _Upload(AbstractBufferedFile):
    def _initiate_upload(self) -> None:
        self.taken: list[bytes] = []
        self.fs.pending += 1

    def discard(self) -> None:
        self.fs.pending -= self.offset is not None

    def _upload_chunk(self, final: bool = False) -> bool:
        part = self.buffer.getvalue()
        self.fs.parts.append(len(part))
        if len(self.fs.parts) == self.fs.breaks_at:
            raise OSError("the connection to the store was lost")
        if not self.fs.forgetful:
            self.taken.append(part)
        if final:
            self.fs.pending -= 1
            self.fs.objects[self.path] = b"".join(self.taken)
        return True


class Share(LocalFileSystem):
    """Folders of another machine, such as SFTP gives: a file is there as soon as it is begun.

    :ivar seen: the names under which a file was opened for writing.
    """

    protocol = "sftp"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def _open(self, path: str, mode: str = "rb", block_size: Any = None, **kwargs: Any) -> Any:
        if "w" in mode:
            self.seen.append(path.rpartition("/")[2])
        return super()._open(path, mode, block_size, **kwargs)


@contextmanager
def attached(filesystem: Any) -> Iterator[Any]:
    """Let ``<protocol>://shop@...`` lead to this file system."""
    alias = f"{filesystem.protocol}-{CONNECTION}"
    stores.attach(filesystem.protocol, CONNECTION, fs=filesystem)
    try:
        yield filesystem
    finally:
        del stores._STORE_CACHE[alias]
