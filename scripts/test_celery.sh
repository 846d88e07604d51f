#!/bin/sh
# Kills and stops the parts of an Airflow with CeleryExecutor, and counts the rings.
# Usage: test_celery.sh [PYTEST OPTION ...]
#
# It has a venv of its own, with constraints/celery.txt on top of constraints.txt. Redis and PostgreSQL are those of
# the system; both run as processes of the tests, on loopback and on ports of their own.
set -eu

venv=.venv-celery

has_postgres() {
    [ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || command -v postgres >/dev/null
}

is_ready() {
    [ -e "$venv/.ready" ] &&
        [ -z "$(find pyproject.toml constraints.txt constraints/celery.txt scripts/install.sh -newer "$venv/.ready")" ]
}

if ! command -v redis-server >/dev/null || ! has_postgres; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "Redis and PostgreSQL are needed (Debian: apt-get install redis-server postgresql)." >&2
        exit 1
    fi
    echo "Installing Redis and PostgreSQL (once) ..." >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends redis-server postgresql >/dev/null
fi

if ! is_ready; then
    echo "Setting up $venv (once; a minute or so) ..." >&2
    sh scripts/install.sh "$venv" constraints.txt --constraint constraints/celery.txt \
        --editable '.[sandbox,store,postgres]' apache-airflow-providers-celery redis pytest pytest-timeout
    touch "$venv/.ready"
fi

export FORMANT_TEST_POSTGRES=required
exec "$venv/bin/python" -m pytest -o cache_dir="$venv/.pytest_cache" --durations=0 --durations-min=5 tests/cluster "$@"
