#!/bin/sh
# phonenumbers 9.0.43: time_zones_for_number() gives a mobile of Jamaica 42 time zones, from Guam to Newfoundland.
#
# Jamaica has one clock, and its code 876 is in the map with America/Jamaica: landlines get that. For a mobile, which is not
# "geographical", the map is asked for the country calling code instead, and +1 is that of two dozen countries. So it is
# with other countries of +1, and with Kazakhstan, which gets the zones of Russia with its own (16, of two countries). Whoever
# calls only when it is day in every zone that is given calls nobody there. A number of Algeria gets Europe/Paris alone, whose
# clock in summer is an hour ahead of Algiers: a zone that is given need not be one of the country's.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet phonenumbers==9.0.43
"$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers
from phonenumbers import timezone

seen = {}
for region in ("JM", "KZ", "DZ"):
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    assert phonenumbers.is_valid_number(number) and phonenumbers.region_code_for_number(number) == region
    zones = timezone.time_zones_for_number(number)
    seen[region] = len(zones)
    print(region, "mobile:", len(zones), "zones:", ", ".join(zones[:3]), "...")
assert seen == {"JM": 42, "KZ": 16, "DZ": 1}, "it has changed"
landline = phonenumbers.example_number_for_type("JM", phonenumbers.PhoneNumberType.FIXED_LINE)
print("JM landline:", timezone.time_zones_for_number(landline))
algiers = phonenumbers.example_number_for_type("DZ", phonenumbers.PhoneNumberType.FIXED_LINE)
assert timezone.time_zones_for_number(algiers) == ("Europe/Paris",), "it has changed"
PYTHON
