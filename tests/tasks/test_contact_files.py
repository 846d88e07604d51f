"""From contacts anywhere to the one file that is uploaded, and the two beside it."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from formant_provider.api.errors import CallNotAllowed, InputNotFound, InvalidContacts, InvalidInput
from formant_provider.core.contacts.row_list import read_row_list
from formant_provider.tasks.batches.contacts import ContactFiles
from formant_provider.tasks.contact_rules import ContactRules
from support.object_store import ObjectStore, attached

NUMBERS = ["+14155550100", "+14155550101", "+14155550102"]
TEXT = "".join(f"{line}\r\n" for line in ["name,customer_phone", *(f"Asha,{number}" for number in NUMBERS)])
ROWS = [{"name": "Asha", "customer_phone": number} for number in NUMBERS]
BAD = {"name": "Ravi", "customer_phone": "4155550100"}


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., ContactFiles]:
    """Make the files of a batch call, whose own folder is apart from all else."""

    def make(contacts: Any = ROWS, suppress: Any = None, **options: Any) -> ContactFiles:
        rules = {"delimiter": ",", "default_country": None, "required_variables": (), "invalid_rows": "fail"}
        rules |= {"numbers": None, "max_rejected_rate": None, "on_empty": "fail"}
        chosen = {name: options.pop(name, value) for name, value in rules.items()}
        (tmp_path / "own").mkdir(exist_ok=True)
        return ContactFiles(tmp_path / "own", contacts, suppress, ContactRules(**chosen), **options)

    return make


def rows_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_a_list_becomes_a_clean_file(files: Callable[..., ContactFiles], tmp_path: Path) -> None:
    """Header and rows in their order, by RFC 4180, and nothing outside of its folder."""
    made = files()
    assert made.report is None
    assert made.write().read_bytes() == TEXT.encode()
    assert made.report is not None
    assert (made.report.total, made.report.accepted) == (3, 3)
    with pytest.raises(InvalidInput, match="contacts: must name a file"):
        files(__file__ + "/c.csv", rejects_uri=str(tmp_path / "r.csv")).write()
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize("form", ["text", "gzip", "mark", "name without meaning"])
def test_a_file_is_known_by_its_content(
    form: str, files: Callable[..., ContactFiles], tmp_path: Path
) -> None:
    """Neither its name nor a byte order mark matters."""
    path = tmp_path / {"gzip": "c.csv", "name without meaning": "c.gz"}.get(form, "c.csv")
    content = ("\ufeff" * (form == "mark") + TEXT).encode()
    path.write_bytes(gzip.compress(content) if form == "gzip" else content)
    assert files(str(path)).write().read_bytes() == TEXT.encode()


def test_parquet_is_read_from_an_object_store(files: Callable[..., ContactFiles], tmp_path: Path) -> None:
    """A file that is read from its end needs no copy on this machine."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "c.parquet")
    with attached(ObjectStore()) as store:
        store.objects["bucket/c"] = (tmp_path / "c.parquet").read_bytes()
        assert files("s3://shop@bucket/c").write().read_bytes() == TEXT.encode()


def test_recipients_are_kept_for_the_report(files: Callable[..., ContactFiles], tmp_path: Path) -> None:
    """Each row, in the order of the file: the number in E.164, or the reason why it is not called."""
    contacts = [{"a": 'x,"y"\n+1', "customer_phone": "415-555-0102"}, *ROWS[:2]]
    uri = str(tmp_path / "new" / "r.csv.recipients")
    made = files(contacts, ["+14155550101"], recipients_uri=uri, default_country="US", invalid_rows="reject")
    made.write()
    with Path(uri).open("rb") as file:
        assert [(row.row_number, row.number, row.reason) for row in read_row_list(file)] == [
            (1, "+14155550102", None),
            (2, "+14155550100", None),
            (3, "+14155550101", "suppressed"),
        ]
    assert [path.name for path in Path(uri).parent.iterdir()] == ["r.csv.recipients"]


@pytest.mark.parametrize("uri", ["rejects_uri", "recipients_uri"])
def test_nothing_is_kept_of_contacts_that_are_refused(
    uri: str, files: Callable[..., ContactFiles], tmp_path: Path
) -> None:
    """Rejects are handed over, recipients are not: nobody is going to be called."""
    with pytest.raises(InvalidContacts, match="1 of 4 cannot be called"):
        files([*ROWS, BAD], **{uri: str(tmp_path / "file")}).write()
    assert (tmp_path / "file").exists() is (uri == "rejects_uri")


def test_rejects_name_row_and_reason(files: Callable[..., ContactFiles], tmp_path: Path) -> None:
    """In front of the contact's own cells; a list is counted from 1, a file with its header as 1."""
    path, contacts = tmp_path / "rejects.csv", tmp_path / "contacts.csv"
    options = {"rejects_uri": str(path), "invalid_rows": "reject"}
    files([ROWS[0], BAD, ROWS[0]], **options).write()
    header = ["row_number", "reason", "detail", "name", "customer_phone"]
    not_e164, duplicate = rows_of(path)[1:]
    assert rows_of(path)[0] == header
    assert [not_e164[:2], not_e164[3:]] == [["2", "not_e164"], list(BAD.values())]
    assert duplicate[:2] == ["3", "duplicate"]
    contacts.write_text(TEXT + "Ravi,4155550100\r\n")
    files(str(contacts), **options).write()
    assert [row[:2] for row in rows_of(path)[1:]] == [["5", "not_e164"]]


def test_a_file_that_breaks_off_leaves_the_rejects_so_far(
    files: Callable[..., ContactFiles], tmp_path: Path
) -> None:
    """Whoever mends the file sees all that is known of it."""
    path = tmp_path / "contacts.csv"
    path.write_text("customer_phone,name\n4155550100,x\n" + "".join(f"{n},y\n" for n in NUMBERS * 200) + '"')
    with pytest.raises(InvalidInput, match="row 603: opens a quote"):
        files(str(path), rejects_uri=str(tmp_path / "r.csv")).write()
    assert rows_of(tmp_path / "r.csv")[1][:2] == ["2", "not_e164"]


@pytest.mark.parametrize("contacts", [[], [BAD], [{"name": "", "customer_phone": ""}]])
def test_nobody_left_is_said_by_skipping(
    contacts: Any, files: Callable[..., ContactFiles], tmp_path: Path
) -> None:
    """No recipients are kept then."""
    with pytest.raises(CallNotAllowed, match="Nobody is left"):
        files(contacts, invalid_rows="reject", on_empty="skip", recipients_uri=str(tmp_path / "r")).write()
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("contacts", "suppress", "field"),
    [
        (None, None, "contacts"),
        (7, None, "contacts"),
        (b"customer_phone", None, "contacts"),
        (ROWS[0], None, "contacts"),
        ("customer_phone\n+14155550100", None, "contacts"),
        ("x y://z", None, "contacts"),
        (ROWS, 7, "suppress"),
        (ROWS, b"+14155550100", "suppress"),
        (ROWS, "+14155550100", "suppress"),
        (ROWS, "", "suppress"),
    ],
)
def test_what_is_no_place_and_no_list_is_refused(
    contacts: Any, suppress: Any, field: str, files: Callable[..., ContactFiles]
) -> None:
    """The error names the field, and quotes nothing of it."""
    with pytest.raises(InvalidInput) as caught:
        files(contacts, suppress).write()
    assert caught.value.field == field
    assert "4155550100" not in str(caught.value)


def test_a_missing_file_is_named_by_its_field(files: Callable[..., ContactFiles], tmp_path: Path) -> None:
    """A typed error, which Airflow retries since the file may come yet; nothing is handed over."""
    with pytest.raises(InputNotFound, match=r"contacts: .*/c\.csv: No such file"):
        files(str(tmp_path / "c.csv"), rejects_uri=str(tmp_path / "r.csv")).write()
    with pytest.raises(InputNotFound, match=r"suppress: .*/s\.csv: No such file"):
        files(ROWS, str(tmp_path / "s.csv"), rejects_uri=str(tmp_path / "r.csv")).write()
    with pytest.raises(InvalidInput, match="contacts: must name a file"):
        files(__file__ + "/c.csv", rejects_uri=str(tmp_path / "r.csv")).write()
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
