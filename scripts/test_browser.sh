#!/bin/sh
# Drives the connection form and the calls page of a real Airflow in headless Chromium, and opens the page about a
# list of calls.
# Usage: test_browser.sh [AIRFLOW_VERSION] [PYTEST OPTION ...]; `--pictures` renews docs/images.
#
# Without a version it uses .venv; with one, the venv of scripts/test_matrix.sh.
set -eu

venv=.venv constraints=constraints.txt
case ${1:-} in
[0-9]*)
    sh scripts/test_matrix.sh --set-up "$1"
    venv=.venv-$1
    [ ! -e "constraints/airflow-$1.txt" ] || constraints=constraints/airflow-$1.txt
    shift
    ;;
esac

"$venv/bin/python" -c 'import playwright' 2>/dev/null ||
    sh scripts/install.sh "$venv" "$constraints" --editable '.[browser]'

# Playwright would fetch a Chromium of its own; the system's will do, and its updates come with the system's.
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$CHROMIUM" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "No Chromium here. Install it (Debian: apt-get install chromium), or set CHROMIUM to its path." >&2
        exit 1
    fi
    echo "Installing Chromium (once) ..." >&2
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium >/dev/null
    CHROMIUM=$(command -v chromium)
fi

export CHROMIUM
exec "$venv/bin/python" -m pytest -o cache_dir="$venv/.pytest_cache" tests/browser "$@"
