#!/usr/bin/env bash
# The suite on a fresh machine: a virtual environment, what the tests need, a browser, a database server, ruff, pytest.
# Tests marked `thorough` take long and run only with `bash tests/run.sh --all`. Other arguments go to pytest:
# `bash tests/run.sh -k store`.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${VIRTUAL_ENV:-}" ]; then
    [ -x .venv/bin/python ] || python3 -m venv .venv
    source .venv/bin/activate
fi
python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt -r requirements.txt

missing=()
command -v chromium-headless-shell >/dev/null || missing+=(chromium-headless-shell fonts-liberation)
PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
if [ "${#missing[@]}" -gt 0 ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    elif ! command -v chromium-headless-shell chromium >/dev/null; then
        echo "run.sh: the browser tests need Chromium (Debian: apt-get install chromium-headless-shell)" >&2
        exit 1
    elif [[ "${missing[*]}" == *postgresql* ]]; then
        echo "run.sh: without PostgreSQL the store is tested on SQLite alone (Debian: apt-get install postgresql)" >&2
    fi
fi

ruff check .
ruff format --check .
# As many at once as there are cores, four at most; a file's tests stay together, the longest files begin, and each test
# computes in one thread.
OMP_NUM_THREADS=1 python -m pytest tests -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
