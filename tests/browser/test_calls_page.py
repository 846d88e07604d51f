"""The calls page in Airflow's UI: who sees what, by day and night, on any screen, under any path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from support.api_server import ApiServer
from support.calls_page import connections_to, fill
from support.contrasts import CONTRASTS
from support.databases import Database, sqlite_database
from support.stores import new_store

Scheme = Literal["light", "dark"]
Enter = Callable[..., Page]

BOTH = pytest.mark.parametrize("scheme", ["light", "dark"])
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "images"
FRAME = "iframe[title=Calls]"
TEMPLATE = "https://voice.example/agents/{agent_id}/conversations/{conversation_id}"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with sqlite_database(tmp_path_factory.mktemp("store")) as database:
        fill(new_store(database))
        yield database


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    connections = connections_to(database, conversation_url_template=TEMPLATE)
    env = {
        "AIRFLOW__FORMANT__CALLS_PAGE": "True",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()},
    }
    users = {"ann": "admin", "only_renewals": "viewer", "only_nothing": "viewer"}
    # Under a path, as behind a proxy.
    with ApiServer(tmp_path_factory.mktemp("home"), users, "/airflow", env) as server:
        yield server


@pytest.fixture
def enter(browser: Browser, server: ApiServer) -> Iterator[Enter]:
    """Open a page of Airflow as a user; ``None``: as somebody who is not logged in."""
    contexts = []

    def look(
        user: str | None, path: str = "/formant-calls/", *, scheme: Scheme = "light", width: int = 1280
    ) -> Page:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 960})
        contexts.append(context)
        if user is not None:
            context.add_cookies([{"name": "_token", "value": server.token(user), "url": server.base_url}])
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.goto(f"{server.base_url}{path}")
        return page

    yield look
    for context in contexts:
        context.close()


def frame_of(page: Page) -> FrameLocator:
    """The calls page within Airflow's UI."""
    frame = page.frame_locator(FRAME)
    frame.get_by_role("heading", name="In figures").wait_for()
    return frame


def test_logged_out_nothing_is_seen(enter: Enter, server: ApiServer) -> None:
    """Without a log-in the page tells nothing of any call."""
    page = enter(None)
    expect(page.get_by_role("heading", name="Not logged in")).to_be_visible()
    assert "renewals" not in page.content()
    assert page.request.get(f"{server.base_url}/formant-calls/").status == 401


def test_calls_of_other_dags_are_not_seen(enter: Enter) -> None:
    """A viewer who may read one DAG sees its calls and no others; who may read none sees none."""
    everything = enter("ann")
    assert {"renewals.call_all", "surveys.call_batch"} <= set(everything.locator("main a").all_inner_texts())
    page = enter("only_renewals")
    titles = page.locator("tbody a[target=_top]").all_inner_texts()
    assert titles
    assert {title.partition(".")[0] for title in titles} == {"renewals"}
    assert "surveys" not in page.content()
    nothing = enter("only_nothing")
    expect(nothing.get_by_role("heading", name="No calls")).to_be_visible()
    assert nothing.locator("table").count() == 0


def test_the_menu_leads_to_the_page(enter: Enter) -> None:
    """In Airflow's UI it is under Browse, and a row leads to its task on the page around it."""
    page = enter("ann", "/")
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Calls").click()
    frame = frame_of(page)
    frame.get_by_role("link", name="renewals.call_all").first.click()
    page.wait_for_url(
        "**/airflow/dags/renewals/runs/scheduled__2026-11-28T08%3A00%3A00%2B00%3A00/tasks/call_all"
    )
    assert page.locator(FRAME).count() == 0


def test_a_conversation_opens_in_a_tab_of_its_own(enter: Enter) -> None:
    """The address is that of the connection's template; the frame in Airflow's UI would not open it."""
    page = enter("ann", "/plugin/formant-calls")
    page.context.route("https://voice.example/**", lambda route: route.fulfill(body="the conversation"))
    with page.expect_popup() as opened:
        frame_of(page).get_by_role("link", name="conversation").first.click()
    assert opened.value.url.startswith("https://voice.example/agents/457/conversations/")


@BOTH
def test_the_page_has_the_theme_of_airflow(scheme: Scheme, enter: Enter) -> None:
    """Within the UI its theme counts, whatever the browser prefers; alone, the browser's."""
    backgrounds = {"light": "rgb(244, 246, 248)", "dark": "rgb(17, 22, 28)"}
    color = "getComputedStyle(document.body).backgroundColor"
    assert enter("ann", scheme=scheme).evaluate(color) == backgrounds[scheme]
    other: Scheme = "dark" if scheme == "light" else "light"
    page = enter("ann", "/plugin/formant-calls", scheme=other)
    page.evaluate(f"localStorage.setItem('theme', '{scheme}')")
    page.reload()
    body = frame_of(page).locator("body")
    assert body.evaluate(f"() => {color}") == backgrounds[scheme]


@BOTH
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits(scheme: Scheme, width: int, enter: Enter) -> None:
    """Nothing is wider than the screen, from a phone to a desk, and all text is readable (WCAG 2, AA)."""
    page = enter("ann", scheme=scheme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "it => it.getBoundingClientRect().right > it.closest('section').getBoundingClientRect().right"
    assert page.evaluate(f"[...document.querySelectorAll('section *')].filter({wide}).length") == 0
    assert min(page.evaluate(CONTRASTS)) >= 4.5


def test_nothing_is_loaded_from_elsewhere(enter: Enter) -> None:
    """The page is one answer, and its browser complains of nothing."""
    page = enter("ann")
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.reload()
    assert [each for each in seen if not each.startswith("data:")] == [page.url]


@BOTH
def test_the_pictures_of_the_documentation(
    scheme: Scheme, enter: Enter, request: pytest.FixtureRequest
) -> None:
    """What the documentation shows is this page within Airflow's UI."""
    page = enter("ann", "/plugin/formant-calls", scheme=scheme)
    page.evaluate(f"localStorage.setItem('theme', '{scheme}')")
    page.reload()
    for name in ("Unconfirmed", "Call lists", "Batch calls", "By agent and outcome", "Newest calls"):
        expect(frame_of(page).get_by_role("heading", name=name)).to_be_attached()
    if request.config.getoption("--pictures"):
        page.set_viewport_size({"width": 1280, "height": 1500})
        page.screenshot(path=PICTURES / f"calls-page-{scheme}.png", animations="disabled")
