"""Which time zone database counts, and what is in it.

Python reads the files of the machine first, and those of the package ``tzdata`` only for what is missing
there. So a machine that is a year old wins over a package of last week, and calls are placed an hour late
where clocks were changed since. Here the newest of them counts, for every zone.
"""

from __future__ import annotations

import logging
import re
import zoneinfo
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeAlias
from zoneinfo import ZoneInfo

from formant_provider.api.errors import InvalidInput

MAX_AGE = timedelta(days=365)

_UNKNOWN = "0001a"  # older than any
_VERSION = re.compile(r"# version ([0-9]{4}[a-z]+)")
_NAME = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
# A version names no more than its year. From https://github.com/python/tzdata/releases; of those that are not
# here, the end of their year.
_RELEASED = {
    "2025a": date(2025, 1, 16),
    "2025b": date(2025, 3, 22),
    "2025c": date(2025, 12, 11),
    "2026a": date(2026, 3, 2),
    "2026b": date(2026, 4, 23),
    "2026c": date(2026, 7, 8),
    "2026d": date(2026, 9, 11),
    "2026e": date(2026, 9, 30),
    "2026f": date(2026, 10, 28),
}
# Clocks are the same if they agree from here to the beginning of the third year from now. Not from today on:
# a process may run over a change of clocks, and two of them must come to the same.
_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
Clock: TypeAlias = tuple[tuple[datetime, timedelta | None], ...]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ZoneDatabase:
    """One copy of the IANA time zone database."""

    version: str
    folder: Traversable
    source: str

    def zone(self, name: str) -> ZoneInfo | None:
        """Return a time zone by its IANA name, also by an old one; ``None`` if there is none of the name."""
        if not _NAME.fullmatch(name):
            return None
        return self._read(name, name) or self._read(self.links.get(name, ""), name)

    def _read(self, path: str, name: str) -> ZoneInfo | None:
        with suppress(OSError, ValueError):  # no such file, or none that holds a zone
            if path:
                with self.folder.joinpath(*path.split("/")).open("rb") as file:
                    return ZoneInfo.from_file(file, key=name)
        return None

    @cached_property
    def links(self) -> dict[str, str]:
        """The zone that each old name stands for. Some machines carry no files for these."""
        lines = (line.split() for line in _text(self.folder / "tzdata.zi").splitlines() if line[:2] == "L ")
        return {name: target for _, target, name in lines}

    @cached_property
    def countries(self) -> dict[str, tuple[str, ...]]:
        """The names of the zones of each country, by its ISO 3166 code."""
        zones: dict[str, tuple[str, ...]] = {}
        for line in _text(self.folder / "zone.tab").splitlines():
            if line and not line.startswith("#"):
                country, _, name = line.split("\t")[:3]
                zones[country] = (*zones.get(country, ()), name)
        return zones


@cache
def database() -> ZoneDatabase:
    """Return the newest database that is available. One of unknown version counts for nothing."""
    found = available()
    if not found:
        raise InvalidInput(
            "calling_window",
            "needs a time zone database, and neither a package nor the machine has one: pip install tzdata",
        )
    return max(found, key=lambda one: one.version)  # of equals the first


def available() -> list[ZoneDatabase]:
    """Return all databases: that of the package first, then those of the machine in the order of Python."""
    return [*_package(), *_machine()]


@cache
def zone(name: str) -> ZoneInfo | None:
    """Return a time zone by its IANA name, from the database that counts; ``None`` if there is none."""
    return next(filter(None, (one.zone(name) for one in (database(), *_package()))), None)


@cache
def zone_names(country: str) -> tuple[str, ...]:
    """Return the names of the time zones of a country, by its ISO 3166 code; none if it is not known."""
    found = (one.countries.get(country) for one in (database(), *_package()))
    return next(filter(None, found), ())


@cache
def note_version() -> None:
    """Log which database counts, and warn if it is old; once in a process."""
    log_version(database(), datetime.now(UTC).date())


def log_version(one: ZoneDatabase, today: date) -> None:
    """Log the version of a database, and warn if it is old."""
    _log.info("Calling hours go by time zone database %s (%s).", one.version, one.source)
    if is_old(one.version, today):
        _log.warning(
            "Time zone database %s is older than 12 months. Where clocks were changed since, calls are"
            " placed at the wrong hour: upgrade the package tzdata.",
            one.version,
        )


def is_old(version: str, today: date) -> bool:
    """Whether a version was released more than 12 months ago."""
    released = _RELEASED.get(version, date(int(version[:4]), 12, 31))
    return today - released > MAX_AGE


@cache
def _package() -> list[ZoneDatabase]:
    """Return the database of the package; none where somebody has taken the package out."""
    with suppress(ModuleNotFoundError):
        folder = resources.files("tzdata") / "zoneinfo"
        return [ZoneDatabase(_version(folder) or _UNKNOWN, folder, "package tzdata")]
    return []


def _machine() -> list[ZoneDatabase]:
    found = ((Path(folder), _version(Path(folder))) for folder in zoneinfo.TZPATH)
    there = [ZoneDatabase(version, folder, str(folder)) for folder, version in found if version]
    return [one for one in there if _is_whole(one)]


def _is_whole(one: ZoneDatabase) -> bool:
    """Whether a folder has more than its version: countries, and compiled files of their zones."""
    return any(one.zone(name) for names in one.countries.values() for name in names)


def _version(folder: Traversable) -> str | None:
    with suppress(OSError), (folder / "tzdata.zi").open("rb") as file:
        found = _VERSION.match(file.readline(100).decode("ascii", "replace"))
        return found[1] if found else None
    return None


def _text(path: Traversable) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8")
    return ""


@lru_cache(maxsize=4096)
def one_per_clock(names: tuple[str, ...]) -> tuple[ZoneInfo, ...]:
    """Return one zone for each clock, by the first of its names."""
    first = {clock(name): name for name in reversed(names)}
    return tuple(found for name in dict.fromkeys(names) if name in first.values() and (found := zone(name)))


@cache
def clock(name: str) -> Clock:
    """Return what the clocks of a zone show: their difference from UTC, and when it changes."""
    found = zone(name)
    return tuple(_changes(found)) if found else ()


def _changes(where: ZoneInfo) -> Iterator[tuple[datetime, timedelta | None]]:
    until = _SINCE.replace(year=max(_SINCE.year, datetime.now(UTC).year) + 3)
    day, before = _SINCE, None
    while day < until:
        offset = day.astimezone(where).utcoffset()
        if offset != before:
            yield (_change(where, day - _DAY, day) if before is not None else day), offset
        day, before = day + _DAY, offset


def _change(where: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return when within a day a clock is changed, to the minute."""
    wanted = after.astimezone(where).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) / 2
        if middle.astimezone(where).utcoffset() == wanted:
            after = middle
        else:
            before = middle
    return after
