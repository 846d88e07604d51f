"""Whether what is installed is new enough: packages, and the time zone data of package and machine."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import date
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from formant_provider.__about__ import __version__
from formant_provider.check.findings import Finding, State
from formant_provider.core.hours.zone_database import ZoneDatabase, available, is_old

DISTRIBUTION = "airflow-provider-formant"
PACKAGES = ("apache-airflow", "phonenumbers")
_PACKAGE = "package tzdata"


def check_versions(today: date) -> Iterator[Finding]:
    """Compare what is installed with what this package needs, and time zone data with the date of today."""
    text = f"{DISTRIBUTION} {__version__}, Python {platform.python_version()}."
    yield Finding("versions", State.OK, text)
    needed = {found.name: found for found in map(Requirement, requires(DISTRIBUTION) or ())}
    for name in PACKAGES:
        yield check_package(needed[name])
    yield from check_zone_data(available(), today)


def check_package(needed: Requirement) -> Finding:
    """Compare one package with what is needed of it: pip lets it be older where it was told to."""
    try:
        installed = version(needed.name)
    except PackageNotFoundError:
        installed = None
    to_do = f'pip install "{needed.name}{needed.specifier}"'
    if installed is None:
        return Finding("versions", State.PROBLEM, f"{needed.name} is not installed.", to_do)
    if needed.specifier.contains(installed, prereleases=True):
        return Finding("versions", State.OK, f"{needed.name} {installed}.")
    text = f"{needed.name} {installed} is not {needed.specifier}, which this package needs."
    return Finding("versions", State.WARNING, text, to_do)


def check_zone_data(found: list[ZoneDatabase], today: date) -> Iterator[Finding]:
    """Say which databases there are, which of them counts for calling hours, and which are old."""
    if not found:
        text = "neither a package nor this machine has any: calling hours are refused."
        yield Finding("zone data", State.PROBLEM, text, "pip install tzdata")
        return
    counts = max(found, key=lambda one: one.version)
    for one in found:
        use = "Calling hours go by it." if one is counts else "Calling hours go by a newer one."
        text = f"{one.version} ({one.source}). {use}"
        if not is_old(one.version, today):
            yield Finding("zone data", State.OK, text)
        else:
            yield Finding("zone data", State.WARNING, f"{text} It is older than 12 months.", _renewal(one))


def _renewal(one: ZoneDatabase) -> str:
    if one.source == _PACKAGE:
        return "pip install --upgrade tzdata"
    return "Upgrade the time zone data of the operating system: Airflow's schedules go by it."
