"""A StatsD server that notes what it gets: a socket, and nothing of any library."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from threading import Thread
from typing import Self


class StatsdServer:
    """Listens on a port of its own, in a thread.

    :ivar lines: what has come, such as ``airflow.formant.calls.placed,agent_id=7:1|c``.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        Thread(target=self._receive, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def env(self) -> Mapping[str, str]:
        """The settings of an Airflow that sends to it, with tags as InfluxDB has them."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.port),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    @property
    def ours(self) -> list[str]:
        """The lines of this provider."""
        return [line for line in self.lines if line.startswith("airflow.formant.")]

    def wait_for(self, line: str, timeout_s: float = 60) -> None:
        """Wait for a line."""
        deadline = time.monotonic() + timeout_s
        while line not in self.lines:
            assert time.monotonic() < deadline, f"no {line} in {self.ours}"
            time.sleep(0.05)

    def _receive(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(65535)
            except OSError:
                return
            self.lines += datagram.decode().splitlines()
