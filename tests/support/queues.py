"""Queues for tests: Debian's Redis on loopback, and Amazon's SQS as moto plays it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support.standalone import local

PASSWORD = "private-password"


@dataclass
class RedisServer:
    """A Redis server that keeps nothing, and can be killed and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        return import_module("redis").Redis.from_url(self.url)

    def start(self) -> None:
        options = ("--save", "", "--bind", "127.0.0.1", "--dir", str(self.folder))
        command = ["redis-server", "--port", str(self.port), "--requirepass", PASSWORD, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        error = import_module("redis").exceptions.ConnectionError
        for _ in range(500):
            try:
                self.client().ping()
            except error:
                time.sleep(0.02)
            else:
                return
        raise TimeoutError("redis-server does not answer")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Start one; skip the test where Redis, or its client, is not installed."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(folder, local.free_port())
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def sqs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a client of an SQS to which boto3 leads; skip the test where moto is not installed."""
    pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield import_module("boto3").client("sqs", region_name="eu-west-1")
    finally:
        server.stop()
