from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from formant_provider.api.errors import InvalidInput
from formant_provider.tasks.storage.files import Written, safe_name, to_file, to_folder, write_file
from support.object_store import ObjectStore, Share, attached

MEBI = 1024 * 1024
TESTS = Path(__file__).parents[1]


class Stopped(BaseException):
    """Not an Exception, as Airflow's time-outs are not."""


def content(*pieces: bytes | BaseException, name: str = "f.txt") -> Any:
    """A file of these pieces; an exception among them is raised in its place."""

    def fill(file: IO[bytes]) -> str:
        for piece in pieces:
            if isinstance(piece, BaseException):
                raise piece
            file.write(piece)
        return name

    return fill


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_a_file_is_written_to_a_folder_that_need_not_be_there(tmp_path: Path, scheme: str) -> None:
    """A path and a file URI lead to the same place, with the permissions a new file has."""
    written = write_file(to_folder("output_uri", f"{scheme}{tmp_path}/a/b"), content(b"one", b"two"))
    path = tmp_path / "a" / "b" / "f.txt"
    assert (path.read_bytes(), written.size) == (b"onetwo", 6)
    assert written.uri.endswith(str(path))
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_older_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Whoever has the older one open reads it to its end."""
    folder = to_folder("output_uri", str(tmp_path))
    write_file(folder, content(b"old"))
    with (tmp_path / "f.txt").open("rb") as reader:
        write_file(folder, content(b"n"))
        assert reader.read() == b"old"
    assert (tmp_path / "f.txt").read_bytes() == b"n"
    assert os.listdir(tmp_path) == ["f.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), Stopped()], ids=["error", "time-out"])
def test_what_goes_wrong_leaves_everything_as_it_was(tmp_path: Path, error: BaseException) -> None:
    """No part of a file stays behind, under its name or another."""
    folder = to_folder("output_uri", str(tmp_path))
    write_file(folder, content(b"old"))
    with pytest.raises(type(error)):
        write_file(folder, content(b"new", error))
    assert os.listdir(tmp_path) == ["f.txt"]
    assert (tmp_path / "f.txt").read_bytes() == b"old"


def test_a_killed_process_leaves_no_part_under_the_name(tmp_path: Path) -> None:
    """A process that is killed in the middle leaves the older file, and a hidden one beside it."""
    folder = to_folder("output_uri", str(tmp_path))
    write_file(folder, content(b"old"))
    program = (
        "import os, signal\n"
        "from formant_provider.tasks.storage.files import to_folder, write_file\n"
        "def fill(file):\n"
        "    file.write(b'new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_file(to_folder('output_uri', {str(tmp_path)!r}), fill)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=TESTS)
    assert done.returncode == -9
    assert (tmp_path / "f.txt").read_bytes() == b"old"
    (part,) = set(os.listdir(tmp_path)) - {"f.txt"}
    assert part.startswith(".")
    assert part.endswith(".part")


def test_an_object_goes_to_its_store_in_small_parts() -> None:
    """An object appears under its name with the connection's own file system, never whole in memory."""
    with attached(ObjectStore()) as store:
        folder = to_folder("output_uri", "s3://shop@bucket/calls")
        written = write_file(folder, content(*[b"x" * MEBI] * 12))
    assert written == Written("s3://shop@bucket/calls/f.txt", 12 * MEBI)
    assert store.objects == {"bucket/calls/f.txt": b"x" * 12 * MEBI}
    assert max(store.parts) <= 10 * MEBI


def test_nothing_is_sent_to_a_store_before_it_is_complete() -> None:
    """A download that breaks off begins no object."""
    with attached(ObjectStore()) as store:
        folder = to_folder("output_uri", "s3://shop@bucket/calls")
        with pytest.raises(Stopped):
            write_file(folder, content(b"x" * 12 * MEBI, Stopped()))
    assert (store.parts, store.objects) == ([], {})


@pytest.mark.parametrize("breaks_at", [1, 2])
def test_an_upload_that_breaks_off_leaves_the_older_object(breaks_at: int) -> None:
    """An upload is not ended by an error, which in a store would make a part of it the object."""
    with attached(ObjectStore()) as store:
        folder = to_folder("output_uri", "s3://shop@bucket/calls")
        write_file(folder, content(b"old"))
        store.breaks_at = len(store.parts) + breaks_at
        with pytest.raises(OSError, match="was lost"):
            write_file(folder, content(b"x" * 12 * MEBI))
        store.breaks_at = None
        assert store.objects == {"bucket/calls/f.txt": b"old"}
        write_file(folder, content(b"new"))
    assert store.objects == {"bucket/calls/f.txt": b"new"}


def test_on_a_share_a_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    """Where a file can be seen while it is written, it is written under another name and renamed."""
    with attached(Share()) as share:
        folder = to_folder("output_uri", f"sftp://shop@{tmp_path}/a")
        for text in (b"old", b"new"):
            write_file(folder, content(text))
    assert (tmp_path / "a" / "f.txt").read_bytes() == b"new"
    assert os.listdir(tmp_path / "a") == ["f.txt"]
    assert all(name.endswith(".part") for name in share.seen)
    assert len(share.seen) == 2


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (None, "is blank"),
        ("  ", "is blank"),
        ("None", "is blank"),
        ("calls", "must be an absolute path"),
        ("~/calls", "must be an absolute path"),
        ("file://calls/x", "must be an absolute path"),
        ("nowhere://bucket/x", "Airflow has no storage for 'nowhere'"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused(uri: Any, reason: str) -> None:
    """The error names the parameter and what is wrong, before anything is asked for."""
    with pytest.raises(InvalidInput, match=reason) as caught:
        to_folder("output_uri", uri)
    assert caught.value.field == "output_uri"


def test_a_file_has_a_name() -> None:
    """A URI that ends in a slash names a folder."""
    folder, name = to_file("output_uri", "/tmp/a/b.jsonl")  # noqa: S108 - nothing is written
    assert (str(folder), name) == ("/tmp/a", "b.jsonl")  # noqa: S108
    for uri in ("/tmp/a/", "s3://bucket/"):  # noqa: S108
        with pytest.raises(InvalidInput, match=r"must name a file|no storage"):
            to_file("output_uri", uri)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("e36853de-9cbb-441e-ad75-d3c8ac82abfb_1", "e36853de-9cbb-441e-ad75-d3c8ac82abfb_1"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("a b\\c\n?#", "a%20b%5Cc%0A%3F%23"),
        ("नमस्ते"[:1], "%E0%A4%A8"),
    ],
)
def test_an_id_cannot_lead_out_of_its_folder(text: str, name: str) -> None:
    """Ids are the vendor's own and may hold anything; usual ones stay as they are."""
    assert safe_name(text) == name
    assert "/" not in name
    assert name not in {".", ".."}
