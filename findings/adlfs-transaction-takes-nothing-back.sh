#!/bin/sh
# adlfs 2026.8.0: an error within fs.transaction takes nothing back; what was written is there.
#
# fsspec says that within `with fs.transaction:` files are written at its end, all or none, and discarded after
# an error. adlfs has the attribute and opens the files with autocommit=False, but commits their blocks when they are
# closed. Seen: after an exception a blob with half of the rows is there, in place of the older one. With s3fs 2026.9.0 and
# gcsfs 2026.10.1 the older object stays.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, npm, and their package indexes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fsspec==2026.9.0 adlfs==2026.8.0
npm install --silent --no-audit --no-fund --prefix "$folder" azurite@3.37.0
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import os
import socket
import subprocess
import sys
import time

from adlfs import AzureBlobFileSystem

OLD, HALF = b"+14155550100\n" * 5, b"+14155550101\n" * 2
# The key of the emulator, which is in its documentation.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

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
    files = AzureBlobFileSystem(connection_string=f"DefaultEndpointsProtocol=http;{account};{place}")
    files.mkdir("contacts")
    files.pipe("contacts/day.csv", OLD)
    try:
        with files.transaction:
            with files.open("contacts/day.csv", "wb") as file:
                file.write(HALF)
            raise ConnectionError("the database is gone")
    except ConnectionError as error:
        told = str(error)
    files.invalidate_cache()
    there = files.cat("contacts/day.csv")
    print(f"{told}; {there.count(b'+')} rows are there, in place of {OLD.count(b'+')}")
    assert there == HALF, "it has changed"
finally:
    azurite.kill()
    azurite.wait()
os._exit(0)  # threads of the libraries would wait
PYTHON
