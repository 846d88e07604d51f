"""A real Airflow, the sandbox, and headless Chromium; ``make test-browser`` installs what is needed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from formant_provider.sandbox import Sandbox
from support.connections_page import ConnectionsPage
from support.standalone import Standalone

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "images"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help=f"renew the pictures in {PICTURES}")


@pytest.fixture(scope="module")
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    # On a picture stands the port that the pages name.
    port = 8085 if request.config.getoption("--pictures") else 0
    with Sandbox(api_key="key-1234567", rate_limit=None, port=port) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with Standalone(ROOT / "dags_examples", tmp_path_factory.mktemp("home")) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1000, "height": 960})
    page.set_default_timeout(20_000)
    yield page
    page.context.close()


@pytest.fixture
def connections(page: Page, airflow: Standalone) -> ConnectionsPage:
    return ConnectionsPage(page, airflow.base_url)


@pytest.fixture
def picture(connections: ConnectionsPage, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take a picture for the documentation, if these are to be renewed."""

    def take(name: str) -> None:
        if request.config.getoption("--pictures"):
            PICTURES.mkdir(exist_ok=True)
            connections.picture(PICTURES / f"{name}.png")

    return take
