"""A folder or a pattern of part files, in any storage, is one list of contacts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from formant_provider.api.errors import InvalidInput
from formant_provider.tasks.batches.contact_options import ContactRules
from formant_provider.tasks.batches.contacts import ContactFiles
from formant_provider.tasks.storage.file_parts import parts_of
from support.object_store import ObjectStore, attached

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
