"""Files in any storage: written whole or not at all, and read from folders and patterns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from formant_provider.api.errors import InputNotFound, InvalidInput
from formant_provider.hooks.storage.paths import to_file, to_folder
from formant_provider.hooks.storage.writing import Written, write_file
from formant_provider.tasks.batches.contacts import ContactFiles
from formant_provider.tasks.contact_rules import ContactRules
from formant_provider.tasks.storage.files import open_to_read, parts_of, safe_name
from formant_provider.tasks.storage.uris import in_words
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
        "from formant_provider.hooks.storage.writing import write_file\n"
        "from formant_provider.hooks.storage.paths import to_folder\n"
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


@pytest.mark.parametrize("breaks_at", [1, 2, 3])
def test_an_upload_that_breaks_off_leaves_the_older_object(breaks_at: int) -> None:
    """An upload is not ended by an error, which in a store would make a part of it the object."""
    with attached(ObjectStore()) as store:
        folder = to_folder("output_uri", "s3://shop@bucket/calls")
        write_file(folder, content(b"old"))
        store.breaks_at = len(store.parts) + breaks_at
        with pytest.raises(OSError, match="was lost"):
            write_file(folder, content(b"x" * 12 * MEBI))
        store.breaks_at = None
        assert (store.objects, store.pending) == ({"bucket/calls/f.txt": b"old"}, 0)
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
def test_an_invalid_place_is_refused(uri: Any, reason: str) -> None:
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


NUMBERS = [f"+1415555010{digit}" for digit in range(4)]
FILES = {
    "_SUCCESS": b"",
    "part-00000.csv": f"customer_phone,n\n{NUMBERS[0]},a\n".encode(),
    "part-00001.csv": b"",
    "part-00002.csv": f"n,customer_phone\nb,{NUMBERS[1]}\n".encode(),
}
WHOLE = f"customer_phone,n\r\n{NUMBERS[0]},a\r\n{NUMBERS[1]},b\r\n".encode()


class Place:
    """A storage, and how its folder is written."""

    def __init__(self, uri: str, put: Callable[[str, bytes], object]) -> None:
        self.uri, self._put = uri, put

    def put(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            self._put(name, content)


@pytest.fixture(params=["path", "file", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "out"

    def write(name: str, content: bytes) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    if request.param == "s3":
        with attached(ObjectStore()) as store:
            yield Place(
                "s3://shop@bucket/out", lambda name, text: store.objects.update({f"bucket/out/{name}": text})
            )
    else:
        yield Place(str(folder) if request.param == "path" else f"file://{folder}", write)


def written(folder: Path, contacts: Any, suppress: Any = None, **options: Any) -> tuple[bytes, ContactFiles]:
    (folder / "own").mkdir(exist_ok=True)
    rules = ContactRules(invalid_rows=options.pop("invalid_rows", "fail"), **options)
    made = ContactFiles(folder / "own", contacts, suppress, rules)
    return made.write().read_bytes(), made


@pytest.mark.parametrize("end", ["", "/", "/part-*.csv", "/*", "/part-0000[0-2].csv", "/**/*.csv"])
def test_a_folder_or_a_pattern_is_one_list(end: str, place: Place, tmp_path: Path) -> None:
    """Marks and empty parts are passed over, and columns are matched by name."""
    place.put(FILES)
    assert written(tmp_path, place.uri + end)[0] == WHOLE


@pytest.mark.parametrize("end", ["/", "/*.csv", "/**/*.parquet"])
def test_a_folder_without_parts_is_a_list_that_is_missing(end: str, place: Place, tmp_path: Path) -> None:
    """Nobody to call is never guessed from what is not there."""
    place.put({"_SUCCESS": b"", "part-0.csv": b""})
    with pytest.raises(InvalidInput, match="contacts: names no file with rows"):
        written(tmp_path, place.uri + end)


@pytest.mark.parametrize("end", ["/", "/*.csv"])
def test_a_folder_that_is_being_written_is_refused(end: str, place: Place, tmp_path: Path) -> None:
    """What a job has begun and not finished lacks people."""
    place.put({**FILES, "_temporary/0/part-00003.csv": b"x"})
    with pytest.raises(InvalidInput, match="contacts: is not complete: a job is writing it still"):
        written(tmp_path, place.uri + end)


def test_a_list_of_who_must_not_be_called_may_be_a_folder(place: Place, tmp_path: Path) -> None:
    """Each part counts."""
    place.put(FILES)
    text, made = written(tmp_path, [{"customer_phone": number} for number in NUMBERS], place.uri + "/")
    assert text.decode().split() == ["customer_phone", *NUMBERS[2:]]
    assert made.report is not None
    assert (made.report.do_not_call, made.report.suppressed) == (2, 2)


def test_folders_in_a_folder_are_refused(place: Place, tmp_path: Path) -> None:
    """Whether those of all days are meant is for the DAG file to say, with a pattern."""
    place.put(
        {
            "dt=2026-01-01/part-0.csv": FILES["part-00000.csv"],
            "dt=2026-01-02/part-0.csv": FILES["part-00002.csv"],
        }
    )
    with pytest.raises(InvalidInput, match=r"has 2 folders in it; .* folder/\*\*/\*"):
        written(tmp_path, place.uri)
    assert written(tmp_path, f"{place.uri}/**/*")[0] == WHOLE
    assert b"+14155550101" not in written(tmp_path, f"{place.uri}/dt=2026-01-01/")[0]


@pytest.mark.parametrize("kind", [Path, ObjectStoragePath])
def test_paths_may_be_objects(kind: Any, tmp_path: Path) -> None:
    """As DAG files and tasks have them, for contacts and for who must not be called."""
    (tmp_path / "c.csv").write_bytes(WHOLE)
    (tmp_path / "s.csv").write_text(f"{NUMBERS[1]}\n")
    text, _ = written(tmp_path, kind(tmp_path / "c.csv"), kind(tmp_path / "s.csv"))
    assert text == WHOLE.replace(f"{NUMBERS[1]},b\r\n".encode(), b"")


def test_an_object_s_connection_is_kept(tmp_path: Path) -> None:
    """ObjectStoragePath has it in an argument of its own."""
    with attached(ObjectStore()) as store:
        store.objects["bucket/c.csv"] = WHOLE
        assert written(tmp_path, ObjectStoragePath("s3://bucket/c.csv", conn_id="shop"))[0] == WHOLE


@pytest.mark.parametrize("place", [Path("contacts.csv"), "contacts.csv", "contacts/*.csv"], indirect=False)
def test_a_relative_path_is_refused(place: Any, tmp_path: Path) -> None:
    """Where a worker runs is nobody's choice."""
    with pytest.raises(InvalidInput, match="must be an absolute path"):
        written(tmp_path, place)


def test_a_file_is_read_to_the_end_that_it_has_now(tmp_path: Path) -> None:
    """A store may remember how long it was when it was listed: a list that has grown would lack people."""
    with attached(ObjectStore()) as store:
        store.objects["bucket/out/c.csv"] = WHOLE[: WHOLE.index(b"\n") + 1]
        for place in ("out/c.csv", "out/", "out/*.csv"):
            store.ls("bucket/out")
            store.objects["bucket/out/c.csv"] = WHOLE
            assert written(tmp_path, f"s3://shop@bucket/{place}")[0] == WHOLE
        (part,) = parts_of("contacts", "s3://shop@bucket/out/")
        store.objects["bucket/out/c.csv"] = WHOLE * 2
        with part.open("contacts") as file:
            assert file.read() == WHOLE * 2
    assert set(store.blocks) == {5 * MEBI}, "s3fs would hold 50 MB, and more than once"


def test_the_log_says_how_many_parts_there_are(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A part that was passed over would be missed in vain otherwise."""
    place.put(FILES)
    with caplog.at_level("INFO"):
        assert len(parts_of("contacts", place.uri)) == 2
    assert "Reading contacts from 2 files in " in caplog.text


def test_rejects_tell_the_part(tmp_path: Path) -> None:
    """The file of rejects has the name of the part behind the number of the row, as the report has."""
    place = tmp_path / "out"
    place.mkdir()
    (place / "a.csv").write_text(f"customer_phone\n{NUMBERS[0]}\n")
    (place / "b.csv").write_text("customer_phone\n4155550100\n")
    made = ContactFiles(
        tmp_path, str(place), None, ContactRules(invalid_rows="reject"), rejects_uri=str(tmp_path / "r.csv")
    )
    made.write()
    header, row = (tmp_path / "r.csv").read_text().splitlines()
    assert header == "row_number,part,reason,detail,customer_phone"
    assert row.startswith("2,b.csv,not_e164,")


@pytest.mark.parametrize("column", ["", " Phone", 5, None])
def test_a_column_without_a_name_is_refused_when_the_file_is_parsed(column: Any) -> None:
    """phone_column= is the name of a column."""
    with pytest.raises(ValueError, match="phone_column must be the name of a column"):
        ContactRules(phone_column=column)


@pytest.mark.parametrize("sheet", ["", 0, 1])
def test_a_sheet_is_named_and_not_counted(sheet: Any) -> None:
    """Libraries count sheets from 0 or from 1; a name is the same everywhere."""
    with pytest.raises(ValueError, match="sheet must be the name of a sheet"):
        ContactRules(sheet=sheet)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("s3://conn@bucket/a.csv", "s3://conn@bucket/a.csv"),
        ("s3://key:secret@bucket/a.csv?sig=4f1c", "s3://bucket/a.csv"),
        ("/calls/+14155550100.csv", "/calls/+....csv"),
        ("s3://bucket/%2B14155550100/a.csv", "s3://bucket/+.../a.csv"),
        ("/calls/14155550100/2026-03-01.csv", "/calls/.../2026-03-01.csv"),
        ("s3://123456789012-calls/a.csv", "s3://123456789012-calls/a.csv"),
    ],
)
def test_an_address_is_told_without_a_number_or_a_secret(address: str, told: str) -> None:
    """In logs and messages; the digits in the name of a bucket are those of an account."""
    assert in_words(address) == told


def test_a_number_in_the_name_of_a_file_is_in_no_log_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither when it is read nor when it is not there."""
    caplog.set_level("INFO")
    place = tmp_path / "+14155550100.csv"
    (part,) = parts_of("contacts", str(place))
    with pytest.raises(InputNotFound) as caught:
        part.open("contacts")
    place.write_text("customer_phone")
    parts_of("contacts", str(place))
    assert "Reading contacts from" in caplog.text
    assert "4155550100" not in caplog.text + str(caught.value)


def test_a_number_in_the_name_of_a_file_is_in_no_error_of_its_storage(tmp_path: Path) -> None:
    """Of the file that is written, the folder that it is in, and the file that is read; the kind stays."""
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "+14155550100").mkdir()
    below = to_folder("output_uri", f"{tmp_path}/file/14155550100")
    tries: dict[type[OSError], Any] = {
        NotADirectoryError: lambda: write_file(below, content(b"x")),
        IsADirectoryError: lambda: write_file(
            to_folder("output_uri", str(tmp_path)), lambda _: "+14155550100"
        ),
        FileNotFoundError: lambda: open_to_read(below.parent.parent / "14155550100.wav"),
    }
    for kind, use in tries.items():
        with pytest.raises(kind) as caught:
            use()
        assert "4155550100" not in str(caught.value)
        assert tmp_path.name in str(caught.value)


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
def test_what_is_no_file_is_not_written_over(kind: str, tmp_path: Path) -> None:
    """It is refused where files are checked, before anything is sent."""
    place = tmp_path / "14155550100.csv"
    _ = place.mkdir() if kind == "a folder" else os.mkfifo(place)
    with pytest.raises(InvalidInput, match="results_uri: must name a file") as caught:
        to_file("results_uri", str(place))
    assert "4155550100" not in str(caught.value)
