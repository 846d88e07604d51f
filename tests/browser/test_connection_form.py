"""The connection form of a real Airflow in a real browser: what people see in their first ten minutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version

import pytest

from formant_provider.sandbox import Sandbox
from support.connections_page import ConnectionsPage
from support.standalone import Standalone

pytestmark = [pytest.mark.standalone, pytest.mark.timeout(240)]

AIRFLOW = version("apache-airflow-core")
# Airflow 3.1 takes the names of the regions, and not what they shall be called.
REGIONS = ["global", "in"] if AIRFLOW.startswith("3.1.") else ["Global", "India"]
# These take a connection without a port for another one than that which is stored, and refuse to test it.
NEED_A_PORT = {"3.3.1", "3.3.2"}
PORT = "443" if AIRFLOW in NEED_A_PORT else ""

Picture = Callable[[str], None]


def test_a_connection_is_made_and_changed_without_losing_its_key(
    connections: ConnectionsPage, airflow: Standalone, sandbox: Sandbox, picture: Picture
) -> None:
    """Type, masked key and region are saved; after a change of something else the key still places a call."""
    connections.add("formant_default")
    connections.fill(API_key=sandbox.api_key)
    assert connections.form.get_by_label("API key").get_attribute("type") == "password"
    picture("connection-form")
    assert connections.regions_offered() == REGIONS
    picture("connection-regions")
    connections.page.get_by_role("option", name=REGIONS[1]).click()
    connections.save()

    connections.edit("formant_default")
    assert connections.form.get_by_label("API key").input_value() == "***"
    connections.fill(Description="changed", Base_URL=sandbox.base_url)
    connections.save()
    stored = airflow.api("GET", "/connections/formant_default")
    assert (stored["description"], stored["host"]) == ("changed", sandbox.base_url)
    assert json.loads(stored["extra"])["region"] == "in"
    assert sandbox.api_key not in json.dumps(stored)

    run_id = airflow.trigger("formant_one_call")
    call = airflow.wait_for_task_state(
        "formant_one_call", run_id, "call", {"success", "failed", "up_for_retry"}
    )
    assert call["state"] == "success"
    assert sandbox.rings["+14155550100"] == 1


def test_the_form_shows_what_was_saved(connections: ConnectionsPage, airflow: Standalone) -> None:
    """Re-opened, the form shows the region and the masked key, and saving something else changes neither."""
    body = {
        "connection_id": "as_saved",
        "conn_type": "formant",
        "password": "key",
        "extra": json.dumps({"region": "in", "read_timeout": 60}),
    }
    before = airflow.api("POST", "/connections", body)
    connections.page.reload()
    connections.edit("as_saved")
    connections.fill(Description="changed")
    connections.region()
    assert (
        connections.form.get_by_text(REGIONS[1], exact=True)
        .or_(connections.form.locator(f"input[value='{REGIONS[1]}']"))
        .first.is_visible()
    )
    assert connections.form.get_by_label("Read timeout").input_value() == "60"
    connections.save()
    after = airflow.api("GET", "/connections/as_saved")
    assert json.loads(after["extra"]).items() >= json.loads(before["extra"]).items()


def test_the_button_says_that_the_key_was_accepted(
    connections: ConnectionsPage, sandbox: Sandbox, picture: Picture
) -> None:
    """Test connection with the right key names the server, and rings nobody."""
    made(connections, "good", Base_URL=sandbox.base_url, API_key=sandbox.api_key)
    rung = sandbox.rings.total()
    said = connections.press_test("good")
    picture("connection-tested")
    assert said == f"Test Connection Successful {sandbox.base_url} accepted the API key."
    assert sandbox.rings.total() == rung


def test_the_button_says_that_the_key_was_refused(
    connections: ConnectionsPage, sandbox: Sandbox, picture: Picture
) -> None:
    """Test connection with a wrong key names the server that refused it, and what to look at."""
    made(connections, "wrong", Base_URL=sandbox.base_url, API_key="wrong-key")
    said = connections.press_test("wrong")
    picture("connection-refused")
    assert said.startswith(f"Test Connection Failed {sandbox.base_url} refused the API key.")


def test_the_button_says_that_nobody_answers(connections: ConnectionsPage) -> None:
    """Test connection with a base URL where nobody listens names that URL."""
    with Sandbox() as stopped:
        url = stopped.base_url
    made(connections, "nobody", Base_URL=url, API_key="key")
    assert connections.press_test("nobody").startswith(f"Test Connection Failed {url} cannot be reached.")


def test_only_two_releases_of_airflow_need_a_port(connections: ConnectionsPage, sandbox: Sandbox) -> None:
    """Without a port the button works, but for the releases that our form gives a hint for."""
    connections.add("portless")
    hint = connections.form.get_by_label("Port").get_attribute("placeholder")
    assert hint == "leave empty; 443 if the Test button says Bad Request"
    connections.fill(Base_URL=sandbox.base_url, API_key=sandbox.api_key)
    connections.save()
    bad_request = connections.press_test("portless") == "Test Connection Failed Bad Request"
    assert bad_request is (AIRFLOW in NEED_A_PORT)


def made(connections: ConnectionsPage, conn_id: str, **fields: str) -> None:
    """Make a connection in the form, which the Test button will take."""
    connections.add(conn_id)
    connections.fill(**fields, Port=PORT)
    connections.save()
