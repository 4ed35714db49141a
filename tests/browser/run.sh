#!/usr/bin/env bash
# Tests of the report in a real browser: headless Chromium, driven by Playwright. Arguments go to pytest.
# Chromium is the one of the machine ($CHROMIUM, chromium, google-chrome); where there is none, apt installs it.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$here/../.."
venv=${VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/browser.txt"
if ! "$venv/bin/python" "$here/chromium.py" >/dev/null; then
    [ "$(id -u)" -eq 0 ] || { echo "There is no Chromium here; install it, or set CHROMIUM to where it is" >&2; exit 1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null
fi
exec "$venv/bin/python" -m pytest -o addopts=-q "$here" "$@"
