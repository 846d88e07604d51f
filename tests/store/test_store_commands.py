"""``python -m formant_provider.store``: what it prints, how it ends, and what it never prints."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from formant_provider.store.__main__ import main
from formant_provider.store.schema import events
from formant_provider.store.secrets import new_secret
from formant_provider.store.store import open_up
from formant_provider.store.webhook_events import events_after
from support.audit import NUMBERS, a_batch_call, a_call
from support.databases import Database
from support.stores import NUMBER, SECRET, new_store
from support.supervisor import FakeSupervisor, supervised_by
from support.webhook_events import store_events, webhook

OLD = datetime.now(UTC) - timedelta(days=100)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with a connection to the database; return how it ends and what it prints."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as it sets for its own process

    def run(*arguments: str, secret: str = SECRET, **extra: str) -> tuple[int, str, str]:
        extra = {"store_conn_id": "call_store", "store_secret": secret, **extra}
        connection = {"conn_type": "formant", "extra": json.dumps(extra)}
        connections = {"formant_default": connection, "call_store": database.connection}
        capsys.readouterr()
        with supervised_by(FakeSupervisor(connections)):
            status = main(arguments)
        printed = capsys.readouterr()
        for number in (NUMBER, *NUMBERS):
            assert number[1:] not in printed.out + printed.err
        return status, printed.out, printed.err

    return run


def refused(result: tuple[int, str, str]) -> str:
    """Return the one sentence of a command that was not possible."""
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("python -m formant_provider.store: ")
    assert err.count("\n") == 1
    return err


def test_a_secret_needs_no_connection_and_is_a_new_one(capsys: pytest.CaptureFixture[str]) -> None:
    """It says where it belongs; a program reads it alone."""
    assert main(["secret"]) == 0
    assert '"store_secret"' in capsys.readouterr().out
    secrets = set()
    for _ in range(2):
        assert main(["secret", "--only"]) == 0
        secrets.add(capsys.readouterr().out.strip())
    assert len(secrets) == 2
    assert all(len(secret) == len(SECRET) for secret in secrets)


def test_tables_are_made_once(run: Run) -> None:
    """Then there is nothing to do."""
    assert "make them with" in refused(run("verify"))
    assert "was brought to" in run("upgrade")[1]
    assert json.loads(run("upgrade", "--json")[1]) == {"version": "0003", "was_changed": False}
    assert run("verify")[0] == 0


def test_the_secret_is_exchanged_in_three_steps(run: Run, database: Database) -> None:
    """No digest changes, and the old secret opens nothing afterwards."""
    store, new = new_store(database), new_secret()
    a_call(store, "key")
    assert "one secret alone" in refused(run("rotate"))
    both = f"{new},{SECRET}"
    assert json.loads(run("rotate", "--json", secret=both)[1]) == {"was_changed": True}
    assert "was already" in run("rotate", secret=both)[1]
    assert "does not open this call store" in refused(run("verify"))
    assert run("verify", secret=new)[0] == 0
    again = open_up(store.engine, "here", new)
    assert again.digests == store.digests
    assert len(json.loads(run("history", "--recipient", NUMBER, "--json", secret=new)[1])["asked"]) == 1


def test_verify_ends_with_1_when_something_was_changed(run: Run, database: Database) -> None:
    """It prints the head, and what it has found."""
    store = new_store(database)
    a_call(store, "key")
    status, out, _ = run("verify")
    head = re.search(r"Head: (2:[0-9a-f]{64})\n", out)
    assert head is not None
    assert status == 0
    assert run("verify", "--expect", head[1])[0] == 0
    with store.writing() as conn:
        conn.execute(update(events).where(events.c.seq == 1).values(at=5))
    status, out, _ = run("verify")
    assert status == 1
    assert re.search(r"1 +sending +dag/run/call +does not match its hash", out)
    found = json.loads(run("verify", "--json")[1])
    assert (found["findings"], found["first_findings"][0]["seq"]) == (1, 1)
    assert "--expect" in refused(run("verify", "--expect", "2"))


def test_history_tells_what_was_asked_for_a_person(
    run: Run, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By which task and whom, sent when, the ids, the batch calls; as a table and as data."""
    store = new_store(database)
    a_call(store, "one", NUMBERS[0], map_index=3, reference="order 5", asked_by="asha", dag_id="remind")
    a_call(store, "other")
    a_batch_call(store, "batch", dag_id="renew")
    by_hand = ["--reason", "she asked", "--by", "ravi"]
    (tmp_path / "list.csv").write_text(f"customer_phone\n{NUMBERS[0]}\n")
    assert run("suppress", "add", str(tmp_path / "list.csv"), *by_hand)[0] == 0
    status, out, _ = run("history", "--recipient", NUMBERS[0])
    assert status == 0
    for said in ("by ravi: she asked", "Asked for: 2 (2 placed).", "remind, call, row 3", "order 5", "asha",
                 "trace-run", "Batch call to 3 people", "renew, call", "batch_id 7", "sending ",
                 "placed "):  # fmt: skip
        assert said in out
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{NUMBERS[0]}\n"))
    found = json.loads(run("history", "--recipient", "-", "--json")[1])
    call, batch = found["asked"]
    assert (call["trace_id"], call["state"], len(call["sends"])) == ("trace-run", "placed", 1)
    assert [event["kind"] for event in call["events"]] == ["sending", "placed"]
    assert (batch["batch_id"], batch["people"]) == (7, 3)
    assert found["on_do_not_call_list"]["reason"] == "she asked"
    assert [each["kind"] for each in found["changes_of_the_list"]] == ["suppressed"]
    assert "Asked for: 0, as far" in run("history", "--recipient", NUMBERS[0], "--since", "2999-01-01")[1]


def test_history_tells_what_a_dag_has_asked_for(run: Run, database: Database) -> None:
    """Or a run of it."""
    store = new_store(database)
    a_call(store, "one", run_id="r1")
    a_call(store, "two", run_id="r2")
    a_call(store, "three", dag_id="other")
    assert "Asked for: 2 (2 placed)." in run("history", "--dag-id", "dag", "--since", "7d")[1]
    assert "Asked for: 1 (1 placed)." in run("history", "--dag-id", "dag", "--run-id", "r2")[1]


@pytest.mark.parametrize(
    "arguments", [(), ("--recipient", NUMBER, "--dag-id", "dag"), ("--recipient", "x" + NUMBER[1:])]
)
def test_history_without_one_person_or_dag_is_refused(
    run: Run, database: Database, arguments: tuple[str, ...]
) -> None:
    """And a number that cannot be read is not repeated."""
    new_store(database)
    assert "--recipient" in refused(run("history", *arguments))


def test_history_reads_a_number_behind_a_byte_order_mark(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As editors begin a file; and of nothing it says that it is no number."""
    new_store(database)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"\ufeff{NUMBER}\n"))
    assert run("history", "--recipient", "-")[0] == 0
    for nothing in ("", "\n", "\ufeff\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(nothing))
        assert refused(run("history", "--recipient", "-")).endswith("--recipient: holds no number\n")


def test_standard_input_that_is_closed_is_told(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sentence, by both commands that read it."""
    new_store(database)
    monkeypatch.setattr("sys.stdin", None)
    for arguments in (["history", "--recipient", "-"], ["suppress", "add", "-", "--reason", "letter"]):
        assert "reads standard input, which is closed" in refused(run(*arguments))


def test_purge_keeps_what_a_cap_of_the_connection_counts(run: Run, database: Database) -> None:
    """However little is asked for; a dry run says so as well."""
    store = new_store(database, now=OLD - timedelta(days=1))
    a_call(store, "old", at=OLD)
    kept = run("purge", "--older-than", "2d", "--dry-run", call_cap="3/120d")
    assert (kept[0], "0 calls" in kept[1], "stays" in kept[1]) == (0, True, True)
    goes = run("purge", "--older-than", "90d", "--dry-run", "--json")
    assert json.loads(goes[1])["intents"] == 1


def test_purge_keeps_what_it_is_told_that_another_cap_counts(run: Run, database: Database) -> None:
    """However long that is."""
    store = new_store(database, now=OLD - timedelta(days=1))
    a_call(store, "old", at=OLD)
    for length in ("180d", "999999d", "999999h"):
        kept = run("purge", "--older-than", "90d", "--keep-for", length, "--dry-run", "--json")
        assert json.loads(kept[1])["intents"] == 0
    assert run("purge", "--older-than", "999999d", "--dry-run")[0] == 0


def test_purge_deletes_what_webhooks_have_brought(run: Run, database: Database) -> None:
    """As old as is asked for, since no cap counts it; a dry run says how many there are."""
    store = new_store(database)
    now = datetime.now(UTC)
    for days in (100, 8, 6):
        store_events(
            store, webhook(str(days), conversation_id=str(days)), received_at=now - timedelta(days=days)
        )
    assert json.loads(run("purge", "--older-than", "7d", "--dry-run", "--json")[1])["webhook_events"] == 2
    status, out, _ = run("purge", "--older-than", "7d")
    assert status == 0
    assert out.endswith("UTC, deleted: 2.\n")
    assert len(events_after(store, 0).events) == 1


def test_forget_deletes_what_webhooks_have_brought_of_people(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of calls to them and from them, in any spelling, and of nobody else."""
    store = new_store(database)
    monkeypatch.setattr(
        "sys.stdin", SimpleNamespace(buffer=io.BytesIO(f"{NUMBER}\n+541145551234\n".encode()))
    )
    own, other = "+14155550199", "+14155550155"
    calls = [
        (NUMBER, own),
        (own, NUMBER),
        (NUMBER[1:], own),
        ("+5491145551234", own),
        (other, own),
        (own, None),
    ]
    told = [
        webhook(str(n), conversation_id=str(n), to_phone=to, from_phone=by)
        for n, (to, by) in enumerate(calls)
    ]
    store_events(store, *told, {**webhook("nobody"), "data": {}})
    assert run("forget", "-") == (0, "4 webhook events deleted.\n", "")
    assert [each.event.event_id for each in events_after(store, 0).events] == ["4", "5", "nobody"]


def test_forget_refuses_what_it_cannot_read_as_a_whole(run: Run, database: Database, tmp_path: Path) -> None:
    """Nothing is deleted of a list with a slip, and no number is repeated."""
    store = new_store(database)
    store_events(store, webhook(to_phone=NUMBER))
    (tmp_path / "list").write_text(f"{NUMBER}\n{NUMBER}x\n")
    assert "cannot be read" in refused(run("forget", str(tmp_path / "list")))
    assert len(events_after(store, 0).events) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_whoever_has_no_name_here_is_known_by_the_id() -> None:
    """A container may run under any id, and what is done there is written down as well."""
    lines = "import os, pwd; from formant_provider.store.commands.printing import user; os.setuid(54321)"
    command = [sys.executable, "-c", f"{lines}; print(user())"]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "user id 54321\n"


def test_purge_deletes_nothing_of_a_store_that_was_changed(run: Run, database: Database) -> None:
    """What was changed would be lost with it, unless that is asked for."""
    store = new_store(database, now=OLD - timedelta(days=1))
    a_call(store, "old", at=OLD)
    with store.writing() as conn:
        conn.execute(update(events).where(events.c.seq == 1).values(at=5))
    status, out, err = run("purge", "--older-than", "90d", "--dry-run")
    assert (status, out) == (1, "")
    assert "does not match its hash" in err
    assert run("purge", "--older-than", "90d", "--dry-run", "--unverified")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [[], ["nothing"], ["purge"], ["purge", "--older-than", "90"], ["suppress"], ["history", "--since", "7"]],
)
def test_wrong_arguments_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As of any command."""
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", NUMBER],
        [NUMBER],
        ["history", "--since", NUMBER],
        ["history", "--dag-id", "dag", NUMBER.replace("555", "\u2013555\u2013")],
        ["purge", "--older-than", NUMBER],
    ],
)
def test_a_number_in_the_wrong_place_is_not_repeated(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither where no argument belongs nor as the value of an option."""
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert NUMBER[-4:] not in capsys.readouterr().err


def test_a_number_that_is_taken_for_a_file_is_not_repeated(run: Run, database: Database) -> None:
    """The rest of its name is told."""
    new_store(database)
    told = refused(run("suppress", "add", f"{NUMBER}/a.csv", "--reason", "letter"))
    assert "+.../a.csv" in told


def test_the_connection_may_be_named_before_the_command(run: Run, database: Database) -> None:
    """Or after it, or after a part of one."""
    new_store(database)
    for arguments in (
        ["--conn-id", "nope", "verify"],
        ["suppress", "--conn-id", "nope", "list"],
        ["suppress", "list", "--conn-id", "nope"],
        ["--conn-id", "formant_default", "verify", "--conn-id", "nope"],
    ):
        assert "'nope' does not exist" in refused(run(*arguments))


def test_a_connection_that_cannot_be_used_is_told_in_a_sentence(run: Run, database: Database) -> None:
    """None of that name, without a store, with a wrong secret, with tables of another version."""
    new_store(database)
    assert "'nope' does not exist" in refused(run("verify", "--conn-id", "nope"))
    assert "names no call store" in refused(run("verify", "--conn-id", "call_store"))
    assert "does not open this call store" in refused(run("verify", secret=new_secret()))
    with database.engine().begin() as conn:
        conn.exec_driver_sql("UPDATE formant_store_version SET version_num = '0999'")
    assert "newer than" in refused(run("verify"))


def _hear_ctrl_c() -> None:
    """Undo what a shell does for what it runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def program(*arguments: str, folder: Path, shell: str = "", **options: Any) -> subprocess.Popen[str]:
    """Begin a command where Airflow has its connections from the environment."""
    connection = {"store_conn_id": "call_store", "store_secret": SECRET, "store_auto_upgrade": True}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_CALL_STORE": json.dumps({"conn_type": "sqlite", "host": str(folder / "calls.db")}),
        "AIRFLOW_CONN_FORMANT_DEFAULT": json.dumps({"conn_type": "formant", "extra": connection}),
    }
    command = [sys.executable, "-m", "formant_provider.store", *arguments]
    given = ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *command]
    return subprocess.Popen(
        given,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - no other thread runs here
        **options,
    )


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        ({"conn_type": "formant", "extra": "5"}, "extra: must be a JSON object"),
        ({"conn_type": "formant", "extra": '{"store_conn_id": '}, "extra: must be a JSON object"),
        ({"conn_type": "formant", "extra": '["store_conn_id"]'}, "extra: must be a JSON object"),
        ({"conn_type": "http", "extra": {}}, "conn_type: connection 'other' is not of type formant"),
        ({"conn_type": "formant", "extra": {"call_caps": "2/1d"}}, "did you mean 'call_cap'?"),
    ],
)
def test_a_connection_is_read_as_tasks_read_it(
    connection: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another type, a key that is nearly one of ours, and an extra that is no object are refused."""
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    if isinstance(extra := connection["extra"], dict):
        given = {"store_conn_id": "call_store", "store_secret": SECRET, **extra}
        connection = {**connection, "extra": json.dumps(given)}
    with supervised_by(FakeSupervisor({"other": connection})):
        status = main(["verify", "--conn-id", "other"])
    printed = capsys.readouterr()
    assert told in refused((status, printed.out, printed.err))


def test_ctrl_c_ends_with_130_and_a_sentence(tmp_path: Path) -> None:
    """As shells know it, and without a traceback."""
    os.mkfifo(pipe := tmp_path / "pipe")
    running = program("suppress", "add", str(pipe), "--reason", "letter", "--by", "maria", folder=tmp_path)
    with pipe.open("w"):  # which waits until the command reads
        for _ in range(12):  # one that comes between two steps may be lost, and one while it ends kills it
            running.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                out, err = running.communicate(timeout=20)
                break
    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("python -m formant_provider.store: interrupted; what was done")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("shell", "told"), [(">&-", "standard output is closed"), ("<&-", "which is closed")]
)
def test_a_stream_that_is_closed_is_told(shell: str, told: str, tmp_path: Path) -> None:
    """Before anything is done whose result nobody would see."""
    running = program(
        "suppress", "add", "-", "--reason", "letter", "--by", "maria", folder=tmp_path, shell=shell
    )
    _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert told in err.splitlines()[-1]
    assert "Traceback" not in err


def test_it_runs_as_a_program_where_airflow_is_set_up(tmp_path: Path) -> None:
    """With connections from the environment; its result is all that is on standard output."""
    running = program("verify", "--json", folder=tmp_path)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, json.loads(out)["findings"]) == (0, 0)
    assert "Traceback" not in err
