#!/bin/sh
# Python's zoneinfo, tzdata 2025.2 and 2026.6: a newer package tzdata changes nothing where the machine has its own files.
#
# zoneinfo reads the first file of a zone in its search path, and the package only for zones that are missing there;
# neither versions nor dates are compared. So upgrading the package on a machine with files of 2025 keeps the rules of 2025.
# Seen with the files of 2025b in the search path and tzdata 2026.6 (2026f) installed: Winnipeg in December 2026 is
# at -06:00, though Manitoba stays on -05:00; with an empty search path it is -05:00.
#
# Prints what it saw; fails if that has changed. Needs python3.11 or newer with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --target "$folder/old" tzdata==2025.2
"$folder/venv/bin/pip" install --quiet tzdata==2026.6
cat > "$folder/show.py" <<'PYTHON'
from datetime import datetime
from zoneinfo import ZoneInfo

import tzdata

print(tzdata.IANA_VERSION, datetime(2026, 12, 1, 12, tzinfo=ZoneInfo("America/Winnipeg")).isoformat())
PYTHON
old=$(PYTHONTZPATH="$folder/old/tzdata/zoneinfo" "$folder/venv/bin/python" "$folder/show.py")
new=$(PYTHONTZPATH= "$folder/venv/bin/python" "$folder/show.py")
echo "files of 2025b in the search path: $old"
echo "none in the search path:           $new"
[ "$old" = "2026f 2026-12-01T12:00:00-06:00" ] || { echo "it has changed" >&2; exit 1; }
[ "$new" = "2026f 2026-12-01T12:00:00-05:00" ] || { echo "it has changed" >&2; exit 1; }
