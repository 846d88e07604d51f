"""Writes the page: HTML with its styles and its one script in it, and headers that allow no others."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from formant_provider.calls_page.days import Day
    from formant_provider.calls_page.shown import Shown

UNCONFIRMED_HELP = (
    "https://airflow-provider-formant.readthedocs.io/page/calls-page.html#calls-that-are-unconfirmed"
)


def calls_page(shown: Shown, day: Day, *, conn_id: str, conn_ids: Sequence[str], is_empty: bool) -> str:
    """Return the page of a day.

    :param conn_id: the connection whose calls are shown.
    :param conn_ids: all connections that can be shown.
    """
    return _template("page").render(
        shown=shown, day=day, conn_id=conn_id, conn_ids=conn_ids, is_empty=is_empty, help=UNCONFIRMED_HELP
    )


def message_page(title: str, text: str) -> str:
    """Return a page with a message alone."""
    return _template("message").render(title=title, text=text)


@cache
def headers() -> dict[str, str]:
    """Return the headers of every answer: nobody keeps it, nothing is loaded, only Airflow may frame it."""
    policy = {
        "default-src": "'none'",
        "script-src": _hash("frame.js"),
        "style-src": _hash("page.css"),
        "img-src": "data:",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "SAMEORIGIN",
    }


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(f"{name}.html.jinja")


@cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(_text),
    )
    env.filters.update(whole="{:,}".format, percent="{:.0f} %".format, clock="{:%H:%M}".format, spelt=_spelt)
    env.globals.update(css=_text("page.css"), script=_text("frame.js"))
    return env


def _spelt(word: str) -> str:
    """Return a word of the store, or of Airflow, as people write it."""
    return word.replace("_", " ")


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(name: str) -> str:
    """Return what allows the one script, or style, whose text this is."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(_text(name).encode()).digest()).decode()}'"
