"""The commands of the CSV cookbook find that the file of each entry can be called."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from formant_provider import contacts
from support.pages import DOCS

PAGE = (DOCS / "csv-cookbook.md").read_text()
PLAIN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
COMMANDS = [shlex.split(line)[4:] for line in re.findall(r"^\$ python .*$", PAGE, re.MULTILINE)]
FILES = {
    "--delimiter": PLAIN.replace('"Rao, Rahul"', "Rahul").replace(",", ";"),
    "--phone-column": PLAIN.replace("customer_phone", "mobile_no"),
    "--default-country": PLAIN.replace("+1415555", "(415) 555-"),
    "--numbers": PLAIN.replace("+", ""),
    "--required": PLAIN,
    "--rejects": PLAIN,
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_file_of_the_cookbook_can_be_called(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option that the entry shows, all of its contacts can be called; without it, some cannot."""
    monkeypatch.chdir(tmp_path)
    file, *options = words
    Path(file).write_text(FILES[options[0]] if options else PLAIN)
    assert contacts.main(words) == contacts.ALL_CAN_BE_CALLED
    if options and options[0] not in {"--required", "--rejects"}:
        assert contacts.main([file]) != contacts.ALL_CAN_BE_CALLED
