"""A batch call never writes over what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from batches.batch_call import WAIT, a_batch_call, names, people_file, wait_for, write_csv

from formant_provider.api.errors import InvalidInput
from formant_provider.core.tables.parts import refuse_overlap
from formant_provider.sandbox import Sandbox
from support.supervisor import FakeSupervisor

# Contacts, suppress, rejects_uri and results_uri within a folder, and who is named.
CLASHES: dict[str, tuple[dict[str, str], str]] = {
    "rejects over contacts": ({"rejects_uri": "in/p.csv"}, "rejects_uri: is where contacts is read"),
    "in other words": ({"rejects_uri": "in/../in/./p.csv"}, "rejects_uri: is where contacts is read"),
    "by a link": ({"rejects_uri": "link/p.csv"}, "rejects_uri: is where contacts is read"),
    "rejects over the list": ({"rejects_uri": "dnc.csv"}, "rejects_uri: is where suppress is read"),
    "report over contacts": ({"results_uri": "in/p.csv"}, "results_uri: is where contacts is read"),
    "report over the list": ({"results_uri": "dnc.csv"}, "results_uri: is where suppress is read"),
    "both to one file": (
        {"results_uri": "x.csv", "rejects_uri": "x.csv"},
        "results_uri: is where rejects_uri",
    ),
    "rejects over the rows": (
        {"results_uri": "x.csv", "rejects_uri": "x.csv.recipients"},
        "list of rows beside results_uri: is where rejects_uri",
    ),
    "into a folder": (
        {"contacts": "in/", "rejects_uri": "in/r.csv"},
        "rejects_uri: is where contacts is read",
    ),
    "into a bare folder": ({"contacts": "in", "results_uri": "in/r.csv"}, "results_uri: is where contacts"),
    "below a folder": ({"contacts": "in", "rejects_uri": "in/out/r.csv"}, "rejects_uri: is where contacts"),
    "like a pattern": ({"contacts": "in/*.csv", "rejects_uri": "in/r.csv"}, "rejects_uri: is where contacts"),
    "like a deep one": (
        {"contacts": "**/*.csv", "rejects_uri": "out/r.csv"},
        "rejects_uri: is where contacts",
    ),
    "rows like a pattern": (
        {"contacts": "in/*.csv*", "results_uri": "in/r.csv"},
        "results_uri: is where contacts",
    ),
}


@pytest.mark.parametrize("is_template", [False, True], ids=["literal", "rendered"])
@pytest.mark.parametrize("case", CLASHES)
def test_outputs_over_inputs_are_refused_before_anything_is_read(
    case: str, is_template: bool, sandbox: Sandbox, channel: FakeSupervisor, tmp_path: Path
) -> None:
    """Literals when the DAG file is parsed, and all when they are rendered: nothing is sent or written."""
    change, told = CLASHES[case]
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    people_file(tmp_path / "in" / "p.csv")
    write_csv(tmp_path / "dnc.csv", [["customer_phone"], ["+14155550199"]])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    end = "{{ '' }}" if is_template else ""
    places = {"contacts": "in/p.csv", "suppress": "dnc.csv", **change}
    options: dict[str, Any] = {name: f"{tmp_path}/{place}{end}" for name, place in places.items()}
    contacts = options.pop("contacts")
    if is_template:
        run = wait_for(channel, contacts, invalid_rows="reject", **options)
        assert (run.state, sandbox.requests) == ("failed", [])
        assert told in str(run.error)
    else:
        with pytest.raises(InvalidInput, match=told):
            a_batch_call(contacts, **{**WAIT, **options})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.csv")} == before


def test_files_beside_the_contacts_are_in_order(channel: FakeSupervisor, tmp_path: Path) -> None:
    """Another name in the folder of a single file, or another folder, is no clash."""
    contacts = people_file(tmp_path / "p.csv")
    files = {"results_uri": f"{tmp_path}/r.csv", "rejects_uri": f"{tmp_path}/p.csv.rejects"}
    run = wait_for(channel, contacts, **files)
    assert run.state == "success", run.log_text
    assert names(tmp_path) == ["p.csv", "r.csv"]


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("s3://a@bucket/p.csv", "s3://b@bucket/p.csv"),
        ("s3://bucket/in/", "s3a://bucket/in/r.csv"),
        ("s3://bucket/in/part-*", "S3://bucket/in/part-r.csv"),
        ("gs://bucket/dt=*/*.csv", "gcs://bucket/dt=1/r.csv"),
        ("file:///data/p.csv", "/data/p.csv"),
        ("/data/**", "/data/x/y.csv"),
        ("s3://bucket/", "s3://bucket/r.csv"),
    ],
)
def test_one_place_is_known_under_its_several_names(read: str, written: str) -> None:
    """Connection, scheme and case of the scheme are no other place."""
    with pytest.raises(InvalidInput, match="rejects_uri: is where contacts is read"):
        refuse_overlap({"contacts": read}, {"rejects_uri": written})


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("s3://bucket/p.csv", "s3://other/p.csv"),
        ("s3://bucket/p.csv", "gs://bucket/p.csv"),
        ("s3://bucket/in", "s3://bucket/in2/r.csv"),
        ("/data/*.csv", "/data/out/r.csv"),
        ("/data/part-*.csv", "/data/rejects.csv"),
        ("/data/**/part-*", "/data/x/r.csv"),
        ("/data/in/p.csv", "/data/in/r.csv"),
    ],
)
def test_other_places_are_not_refused(read: str, written: str) -> None:
    """A star stays within its folder, and names that begin alike are two."""
    refuse_overlap({"contacts": read}, {"rejects_uri": written})
