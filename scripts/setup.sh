#!/usr/bin/env bash
# Makes .venv from the lock and installs the Debian packages that the demo and the tests use, where that is allowed.
# Safe to run again: does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

# --- programs: Prometheus and Alertmanager judge and page, etcd backs the Kubernetes tests, Chromium looks at pages.
missing=()
command -v prometheus >/dev/null || missing+=(prometheus)
command -v prometheus-alertmanager >/dev/null || command -v alertmanager >/dev/null || missing+=(prometheus-alertmanager)
if [ "${1:-}" = test ]; then
  command -v etcd >/dev/null || missing+=(etcd-server)
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
fi
if [ ${#missing[@]} -gt 0 ] && [ -z "${MLOPS_OBS_NO_APT:-}" ] && command -v apt-get >/dev/null; then
  sudo=""
  if [ "$(id -u)" != 0 ]; then sudo="sudo -n"; fi
  if [ -z "$sudo" ] || $sudo true 2>/dev/null; then
    echo "setup: installing ${missing[*]}"
    # Only the binaries are wanted: no service of the distribution is started on this machine.
    $sudo sh -c 'apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"' sh "${missing[@]}" >/dev/null 2>&1 ||
      echo "setup: could not install ${missing[*]}; what needs them falls back or is skipped with a reason" >&2
  else
    echo "setup: not allowed to install ${missing[*]}; to have them: sudo apt-get install ${missing[*]}" >&2
  fi
fi

# --- Python
stamp=.venv/.ready-$(cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
[ -e "$stamp" ] && exit 0
python=$(command -v python3.11 || command -v python3)
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' ||
  { echo "setup: Python 3.11 or 3.12 is needed, found $("$python" --version); install python3.11 and python3.11-venv" >&2; exit 1; }
echo "setup: making .venv from constraints.txt (about 2 GB, a few minutes the first time)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
# A CPU build of torch first, where the machine offers one: the default build brings gigabytes of CUDA.
.venv/bin/pip install -q -c constraints.txt 'torch==2.13.0'
.venv/bin/pip install -q -c constraints.txt -e '.[all,dev]'
rm -f .venv/.ready-*
touch "$stamp"
