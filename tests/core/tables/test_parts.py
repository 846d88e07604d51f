"""Which files of a folder are parts of one table, and when the folder is not whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from formant_provider.core.contacts.do_not_call import NumbersInFiles, read_do_not_call
from formant_provider.core.contacts.sources import opened_contacts
from formant_provider.core.numbers.bulk import NumberReader
from formant_provider.core.tables.file_kinds import FileForm
from formant_provider.core.tables.parts import local_parts
from support.contact_tables import clean, numbered
from support.refusals import refusal

NUMBERS = tuple(f"+1415555010{digit}" for digit in range(10))
HEADER = "customer_phone,name\n"
# What lies beside the parts, by who writes it: none of it holds rows.
BESIDE = {
    "Spark": ("_SUCCESS", "._SUCCESS.crc", ".part-00000.csv.crc", "_metadata", "_common_metadata"),
    "Databricks": ("_SUCCESS", "_started_77", "_committed_77", "_committed_vacuum9"),
    "Athena": ("a1b2.csv.metadata", "a1b2-manifest.csv"),
    "Redshift": ("manifest", "contacts_manifest"),
    "Hadoop": ("out_$folder$",),
    "a desk": (".DS_Store", "~$contacts.xlsx", ".~lock.contacts.ods#", "._part-00000.csv"),
}


PLAIN = FileForm()


def folder_of(place: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return place


def read(
    place: Path | str, form: FileForm = PLAIN
) -> tuple[tuple[str, ...], list[tuple[str | None, int, list[str]]]]:
    """Return the columns, and each row with its part and its number."""
    with opened_contacts(local_parts(place), form) as contacts:
        return contacts.columns, numbered(contacts)


@pytest.mark.parametrize("writer", BESIDE)
def test_what_lies_beside_the_parts_is_passed_over(writer: str, tmp_path: Path) -> None:
    """Marks, checksums, manifests and locks hold no rows, whoever writes them."""
    beside = dict.fromkeys(BESIDE[writer], "no rows")
    folder_of(tmp_path, {"part-00000.csv": f"{HEADER}{NUMBERS[0]},a\n", "part-00001.csv": "", **beside})
    assert read(tmp_path) == (("customer_phone", "name"), [("part-00000.csv", 2, [NUMBERS[0], "a"])])


@pytest.mark.parametrize("name", ["part-0.csv~", "part-0.csv.bak", "part-0.csv.old", ".part-0.csv.swp"])
def test_an_older_version_of_a_part_is_none(name: str, tmp_path: Path) -> None:
    """Who was taken off the list is not called because an editor kept the file."""
    folder_of(tmp_path, {"part-0.csv": f"{HEADER}{NUMBERS[0]},a\n", name: f"{HEADER}{NUMBERS[1]},b\n"})
    assert read(tmp_path)[1] == [("part-0.csv", 2, [NUMBERS[0], "a"])]


def test_parts_are_read_in_the_order_in_which_a_person_counts(tmp_path: Path) -> None:
    """data_0_10 comes after data_0_9, and rows are counted within their part, with its header as row 1."""
    files = {f"data_0_{place}.csv": f"{HEADER}\n{NUMBERS[place % 10]},a\n" for place in (10, 9, 1)}
    _, rows = read(folder_of(tmp_path, files))
    assert [(part, number) for part, number, row in rows if row] == [
        ("data_0_1.csv", 3), ("data_0_9.csv", 3), ("data_0_10.csv", 3),
    ]  # fmt: skip


def test_columns_are_matched_by_name(tmp_path: Path) -> None:
    """Each part has a header of its own, in any order; kinds of files may be mixed."""
    files: dict[str, str | bytes] = {
        "a.csv": f"{HEADER}{NUMBERS[0]},a\n",
        "b.csv.gz": gzip.compress(f"name,customer_phone\nb,{NUMBERS[1]}\nb\n".encode()),
    }
    assert read(folder_of(tmp_path, files))[1] == [
        ("a.csv", 2, [NUMBERS[0], "a"]),
        ("b.csv.gz", 2, [NUMBERS[1], "b"]),
        ("b.csv.gz", 3, ["b"]),
    ]


def test_parts_of_parquet_are_one_table(tmp_path: Path) -> None:
    """As BigQuery, Snowflake and Spark write them."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for place in range(2):
        table = arrow.table({"customer_phone": [NUMBERS[place]], "due": [place]})
        parquet.write_table(table, tmp_path / f"part-{place}.snappy.parquet")
    assert [row for _, _, row in read(tmp_path)[1]] == [[NUMBERS[0], "0"], [NUMBERS[1], "1"]]


def test_a_column_of_another_name_is_that_of_all_parts(tmp_path: Path) -> None:
    """phone_column= holds for each part."""
    files = {"a.csv": f"Phone,x\n{NUMBERS[0]},1\n", "b.csv": f"x,Phone\n2,{NUMBERS[1]}\n"}
    columns, rows = read(folder_of(tmp_path, files), FileForm(phone_column="Phone"))
    assert columns == ("customer_phone", "x")
    assert [row for _, _, row in rows] == [[NUMBERS[0], "1"], [NUMBERS[1], "2"]]


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ("customer_phone\n", "part b.csv: has other columns than the parts before it: it lacks name"),
        (
            "customer_phone,name,due\n",
            "part b.csv: has other columns than the parts before it: it has due besides",
        ),
        ("customer_phone,Name\n", "it lacks name and has Name besides"),
        ("customer_phone,Rahul 5\n", "part b.csv: has other columns than the parts before it, or no header"),
        (f"{NUMBERS[1]},Rahul\n", "part b.csv: has no column customer_phone, or no header at all"),
        (f"{HEADER}{NUMBERS[1]},\xe9\n".encode("latin-1"), "part b.csv: line 2: is not UTF-8"),
        (f'{HEADER}{NUMBERS[1]},"Rahul\n', "part b.csv: row 2: opens a quote that is never closed"),
        (b"PAR1" + bytes(99), "part b.csv: is damaged, or Parquet"),
    ],
)
def test_a_part_that_does_not_fit_is_refused_by_its_name(
    second: str | bytes, told: str, tmp_path: Path
) -> None:
    """A variable that one part lacks would be blank there, and what has no header may be anything."""
    pytest.importorskip("pyarrow")
    folder_of(tmp_path, {"a.csv": f"{HEADER}{NUMBERS[0]},a\n", "b.csv": second})
    assert told in refusal(lambda: read(tmp_path))


def test_parts_without_a_header_are_refused_with_what_to_say_to_the_warehouse(tmp_path: Path) -> None:
    """Snowflake and Redshift write none unless they are told to."""
    folder_of(tmp_path, {"data_0_0_0.csv": f"{NUMBERS[0]},Rahul\n"})
    told = refusal(lambda: read(tmp_path))
    assert told.startswith("part data_0_0_0.csv: has no column customer_phone, or no header at all")
    assert told.endswith("exports of Snowflake and Redshift have one only with HEADER")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("_temporary/0/x.csv",), "is not complete: a job is writing it still"),
        (("_started_5",), "is not complete: a job has started to write it"),
        (("_started_5", "_committed_6"), "is not complete: a job has started to write it"),
        (("part-1.csv._COPYING_",), "is not complete: a file in it is being written still"),
        (("part-1.csv.filepart",), "is not complete: a file in it is being written still"),
        (("part-1.csv.part",), "is not complete: a file in it is being written still"),
        (("part-1.csv.tmp",), "is not complete: a file in it is being written still"),
        (("_delta_log/0.json",), "is a Delta table"),
        ((".hoodie/x",), "is a Hudi table"),
        (("dt=2026-01-01/part-0.csv", "dt=2026-01-02/part-0.csv"), "has 2 folders in it"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(files: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """What a job has not finished lacks people, or has them twice."""
    folder_of(tmp_path, {"part-0.csv": f"{HEADER}{NUMBERS[0]},a\n", **dict.fromkeys(files, HEADER)})
    assert told in refusal(lambda: local_parts(tmp_path))
    if "=" not in files[0]:
        assert told in refusal(lambda: local_parts(tmp_path / "*.csv*"))


@pytest.mark.parametrize("place", [".", "./", "*.csv", "**/*.parquet"])
def test_no_part_is_no_list(place: str, tmp_path: Path) -> None:
    """An empty folder, or a pattern that nothing matches, is a list that is missing, not one of nobody."""
    folder_of(tmp_path, {"_SUCCESS": "", "x.csv": ""})
    assert "names no file with rows" in refusal(lambda: local_parts(f"{tmp_path}/{place}"))


def test_parts_that_are_all_empty_are_refused(tmp_path: Path) -> None:
    """A packed file of nothing has bytes, and no header."""
    folder_of(tmp_path, {"a.csv.gz": gzip.compress(b""), "b.csv.gz": gzip.compress(b"\n")})
    assert refusal(lambda: read(tmp_path)) == "is empty: no part has a header"


def test_a_pattern_names_parts_in_folders(tmp_path: Path) -> None:
    """With ** also in folders that are named by a column, which itself is not read."""
    for day in (1, 2):
        folder_of(
            tmp_path / f"dt=2026-01-0{day}", {"part-0.csv": f"{HEADER}{NUMBERS[day]},a\n", "_SUCCESS": ""}
        )
    folder_of(tmp_path, {"_old/part-0.csv": HEADER})
    columns, rows = read(f"{tmp_path}/**/*.csv")
    assert columns == ("customer_phone", "name")
    assert [(part, row[0]) for part, _, row in rows] == [
        ("dt=2026-01-01/part-0.csv", NUMBERS[1]),
        ("dt=2026-01-02/part-0.csv", NUMBERS[2]),
    ]
    assert len(read(f"{tmp_path}/dt=2026-01-0[12]/part-?.csv")[1]) == 2


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    """What is there under that very name is meant."""
    folder_of(tmp_path, {"list[1].csv": f"{HEADER}{NUMBERS[0]},a\n", "list1.csv": HEADER})
    assert read(tmp_path / "list[1].csv")[1] == [(None, 2, [NUMBERS[0], "a"])]


def test_rejects_and_problems_name_the_part(tmp_path: Path) -> None:
    """A row number alone would not tell which file to look into."""
    files = {
        "p-9.csv": f"{HEADER}{NUMBERS[0]},a\nx,b\n",
        "p-10.csv": f"{HEADER}{NUMBERS[0]},=1\n{NUMBERS[1]},=1\n",
    }
    with opened_contacts(local_parts(folder_of(tmp_path, files)), FileForm()) as contacts:
        report, _, (header, *rows) = clean(contacts)
    assert header == ["row_number", "part", "reason", "detail", "customer_phone", "name"]
    assert [row[:3] for row in rows] == [["3", "p-9.csv", "not_e164"], ["2", "p-10.csv", "duplicate"]]
    first, second = map(str, report.problems)
    assert first.startswith("p-9.csv row 3 (not_e164")
    assert second == "p-10.csv row 2 (duplicate)"


def test_a_do_not_call_list_may_be_in_parts(tmp_path: Path) -> None:
    """All of them count, and an error names the part."""
    folder_of(
        tmp_path, {"a.csv": f"customer_phone\n{NUMBERS[0]}\n", "b.csv": f"x,customer_phone\n1,{NUMBERS[1]}\n"}
    )

    def read_list() -> set[int]:
        return read_do_not_call(NumbersInFiles(local_parts(tmp_path), FileForm()), NumberReader())

    assert read_list() == {int(number) for number in NUMBERS[:2]}
    (tmp_path / "b.csv").write_text(f"x,y\n1,{NUMBERS[1]}\n")
    assert "part b.csv: row 1: has 2 cells" in refusal(read_list, "suppress")
    (tmp_path / "b.csv").write_text(f"{NUMBERS[1]}\nx\n")
    assert "part b.csv: 1 entry cannot be read as a number (1 not_e164): entry 2" in refusal(
        read_list, "suppress"
    )
