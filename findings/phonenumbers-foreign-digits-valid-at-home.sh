#!/bin/sh
# phonenumbers 9.0.43: the digits of a foreign number, parsed with a default region, can be a *valid* number there.
#
# Exports and integer columns lose the plus sign. parse(digits, region) then reads the country code as the beginning
# of a national number, and is_valid_number() agrees where the plan of the region has numbers of that length. Seen:
# a London number from a range for fiction, with region DE, becomes a valid German number; the length alone
# tells nobody. With region US the same digits are not possible, so the surprise depends on the region.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet phonenumbers==9.0.43
"$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers

DIGITS = "442079460018"  # +44 20 7946 0018 without its plus sign
home = phonenumbers.parse(DIGITS, "DE")
text = phonenumbers.format_number(home, phonenumbers.PhoneNumberFormat.E164)
print("DE:", text, "valid:", phonenumbers.is_valid_number(home))
assert (text, phonenumbers.is_valid_number(home)) == ("+49442079460018", True), "it has changed"
abroad = phonenumbers.parse(DIGITS, "US")
print("US: possible:", phonenumbers.is_possible_number(abroad))
assert not phonenumbers.is_possible_number(abroad), "it has changed"
PYTHON
