#!/bin/sh
# phonenumbers 9.0.43: is_possible_number() is true for numbers of four to six digits in all, country code included.
#
# Countries whose plan has no fixed length (Germany, Austria, the United Kingdom for local numbers ...) give such
# lengths as possible, so a number that was cut off on its way passes a check of its length, though nobody abroad can
# dial it. Seen: of +493012, +4923, +43234 and +442345 all four are possible, and none is valid. Whoever uploads a
# file of numbers that were checked in this way may have the whole file refused for one of them.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet phonenumbers==9.0.43
"$folder/venv/bin/python" - <<'PYTHON'
import phonenumbers

seen = {}
for text in ("+493012", "+4923", "+43234", "+442345"):
    number = phonenumbers.parse(text)
    seen[text] = phonenumbers.is_possible_number(number), phonenumbers.is_valid_number(number)
    print(text, "possible: %s, valid: %s" % seen[text])
assert set(seen.values()) == {(True, False)}, "it has changed"
PYTHON
