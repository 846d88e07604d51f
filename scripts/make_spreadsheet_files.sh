#!/bin/sh
# Writes tests/files/spreadsheets/made: what LibreOffice makes of two good lists of contacts, in four locales.
# Usage: make_spreadsheet_files.sh
#
# The files are committed, so that the tests need no LibreOffice. Those of today were written by 7.4.7 of Debian 12.
set -eu

if ! command -v soffice >/dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "No LibreOffice here. Install it (Debian: apt-get install libreoffice-calc)." >&2
        exit 1
    fi
    echo "Installing LibreOffice (once) ..." >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends libreoffice-calc >/dev/null
fi
exec "${PYTHON:-.venv/bin/python}" scripts/make_spreadsheet_files.py
