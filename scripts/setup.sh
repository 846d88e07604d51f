#!/bin/sh
# Makes .venv with this package, Airflow and the tools, at the versions that were tested.
set -eu

echo "Setting up .venv (once; a minute or two) ..."
sh scripts/install.sh .venv constraints.txt --editable '.[dev]'
