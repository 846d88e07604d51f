"""The page "Admin, Connections" of a real Airflow, as a person in front of a browser uses it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TOAST = re.compile("^Test Connection (Successful|Failed)$")


class ConnectionsPage:
    """The list of connections, and the form that opens over it.

    :param page: an empty page of a browser.
    :param base_url: the Airflow, where everybody is an admin.
    """

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        # Airflow 3.1 leads from the log-in to its home page, whatever was asked for.
        page.goto(base_url)
        page.get_by_role("link", name="Dags").first.wait_for()
        page.goto(f"{base_url}/connections")

    @property
    def form(self) -> Locator:
        """The form, if it is open."""
        return self.page.get_by_role("dialog")

    def add(self, conn_id: str) -> None:
        """Open an empty form and choose our type."""
        self.page.get_by_role("button", name="Add Connection").click()
        self.form.get_by_label("Connection ID").fill(conn_id)
        self.form.get_by_role("combobox", name="Connection Type").click()
        self.page.keyboard.type("Formant")
        self.page.get_by_role("option", name="FormantAI").click()
        self.form.get_by_label("API key").wait_for()

    def edit(self, conn_id: str) -> None:
        """Open the form of a connection that is there."""
        self._in_row(conn_id, "Edit Connection").click()
        self.form.get_by_label("API key").wait_for()

    def fill(self, **fields: str) -> None:
        """Type into standard fields, named by their labels with ``_`` for spaces."""
        for label, text in fields.items():
            self.form.get_by_label(label.replace("_", " ")).fill(text)

    def region(self) -> Locator:
        """The drop-down of regions, unfolded together with the other extra fields."""
        drop_down = self.form.get_by_role("combobox", name="Region")
        if not drop_down.is_visible():
            self.form.get_by_role("button", name="Extra Fields", exact=True).click()
        return drop_down

    def regions_offered(self) -> list[str]:
        """What the drop-down offers; it stays open."""
        self.region().click()
        options = self.page.get_by_role("option")
        options.first.wait_for()
        return options.all_inner_texts()

    def save(self) -> None:
        """Press Save and wait until the form is gone."""
        self.form.get_by_role("button", name="Save").click()
        self.form.wait_for(state="hidden")

    def press_test(self, conn_id: str) -> str:
        """Press the Test button of a connection; return what the page says then."""
        self._in_row(conn_id, "Test Connection").click()
        self._toast.wait_for()
        return " ".join(self._toast.inner_text().split())

    def picture(self, path: Path) -> None:
        """Take a picture of the form if it is open, and otherwise of what the Test button said."""
        target = self.form if self.form.is_visible() else self._toast
        target.screenshot(path=path, animations="disabled")

    @property
    def _toast(self) -> Locator:
        return self.page.get_by_role("status", name=TOAST)

    def _in_row(self, conn_id: str, button: str) -> Locator:
        row = self.page.get_by_role("row").filter(has_text=conn_id)
        return row.get_by_role("button", name=button)
