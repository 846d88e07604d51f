"""Whose calls are shown to whom, by what Airflow's auth manager says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from formant_provider.store.overview import dag_ids_in
from formant_provider.store.store import Store
from support.calls_page import CallsPage, Visitor, add_call, calls_page, connections_to, fill
from support.databases import Database
from support.stores import new_store

DAGS = ("renewals", "surveys")


def seen(visitor: Visitor) -> set[str]:
    """The DAGs whose name is somewhere in the answer."""
    return {dag for dag in DAGS if dag in visitor.get().text}


@pytest.fixture(autouse=True)
def day(store: Store) -> None:
    fill(store)


def test_logged_out_nothing_is_seen(page: CallsPage) -> None:
    """Without a log-in of Airflow's, or with one that is none, the answer is 401 or 403: no call."""
    cut = str(page.visitor().token)[:-9]
    strangers = [Visitor(page.client, token) for token in (None, "", "no token", cut)]
    assert [stranger.get().status_code for stranger in strangers] == [401, 401, 403, 403]
    assert set().union(*map(seen, strangers)) == set()
    bearer = {"Authorization": f"Bearer {page.visitor().token}"}
    assert strangers[0].get(headers=bearer).status_code == 200


@pytest.mark.parametrize("role", ["VIEWER", "USER", "OP", "ADMIN"])
def test_who_may_read_all_dags_sees_all(role: str, page: CallsPage) -> None:
    """In Airflow's simple auth manager each role may."""
    assert seen(page.visitor(role=role)) == set(DAGS)


def test_calls_of_other_dags_are_not_seen(page: CallsPage) -> None:
    """Neither rows nor counts tell of calls whose DAG the user may not read."""
    surveys = page.visitor("only_surveys").get().text
    assert "renewals" not in surveys
    assert "loan-" not in surveys
    assert "<dt>Calls</dt><dd>0</dd>" in surveys
    assert seen(page.visitor("only_renewals")) == {"renewals"}
    assert "<dt>Calls</dt><dd>150</dd>" in page.visitor("only_renewals").get().text


def test_who_may_read_no_dag_sees_no_call(page: CallsPage) -> None:
    """The page is empty, and says so."""
    text = page.visitor("only_nothing").get().text
    assert "No calls" in text
    assert "<table" not in text


@pytest.mark.parametrize("dag_id", ["", "deleted_since", f"{'d' * 217}~{'0' * 32}"])
def test_calls_of_no_dag_are_seen_by_who_may_read_all(dag_id: str, store: Store, page: CallsPage) -> None:
    """So are those of a DAG that is gone, or whose id had to be cut to fit into the store."""
    add_call(store, dag_id=dag_id, reference="of-nobody", ago=timedelta(seconds=-5))
    assert "of-nobody" in page.visitor().get().text
    assert "of-nobody" not in page.visitor("only_renewals").get().text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_the_page_can_only_be_read(method: str, page: CallsPage) -> None:
    """Whoever asks for anything but GET is refused, logged in or not."""
    for visitor in (page.visitor(role="ADMIN"), page.visitor(None)):
        answer = visitor.ask(method)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("query", ["", "nothing/here", "?day=yesterday", "?day=0001-01-01", "?conn_id=other"])
def test_no_answer_is_kept_or_framed_by_others(query: str, page: CallsPage) -> None:
    """Each answer forbids to keep it, to run what is not in it, and to show it on other sites."""
    for visitor in (page.visitor(), page.visitor(None)):
        answer = visitor.get(query)
        assert answer.status_code in {200, 401, 404, 422}
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["content-type"].startswith("text/html")


def test_who_may_read_the_last_of_many_dags_sees_its_calls(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that somebody has to look at is hidden by no number of other DAGs, on any database."""
    store, dags = new_store(database), [f"dag_{number:04}" for number in range(1201)]
    for dag_id in dags:
        add_call(store, dag_id=dag_id, state="unclear", reference=f"of-{dag_id}")
    assert dag_ids_in(store) == dags
    with calls_page(monkeypatch, connections_to(database)) as page:
        text = page.visitor("only_dag_1200").get().text
        assert "of-dag_1200" in text
        assert "<dt>Unconfirmed</dt><dd>1</dd>" in text
        assert "<dt>Calls</dt><dd>1,201</dd>" in page.visitor().get().text
