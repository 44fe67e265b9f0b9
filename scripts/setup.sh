#!/usr/bin/env bash
# Makes .venv from the lock and installs the Debian packages that the demo and the tests use, where that is allowed.
# Safe to run again: does nothing when nothing changed, asks for a package only once, and mends a .venv that was interrupted.
set -euo pipefail
cd "$(dirname "$0")/.."

# --- programs: Prometheus and Alertmanager judge and page, etcd backs the Kubernetes tests, Chromium looks at pages.
missing=()
command -v prometheus >/dev/null || missing+=(prometheus)
command -v prometheus-alertmanager >/dev/null || command -v alertmanager >/dev/null || missing+=(prometheus-alertmanager)
if [ "${1:-}" = test ] || [ "${1:-}" = kserve ]; then
  command -v etcd >/dev/null || missing+=(etcd-server)
  command -v kubectl >/dev/null || missing+=(kubernetes-client)
fi
if [ "${1:-}" = test ]; then
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
fi

# Only the binaries are wanted. Debian would start a service for each, open to the network and at every boot.
# shellcheck disable=SC2016
install='
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap "rm -f /usr/sbin/policy-rc.d" EXIT
    trap "exit 130" INT TERM
    printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
  fi
  apt-get -o Acquire::http::Timeout=20 update -qq || exit 1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || exit 1
  if [ -d /run/systemd/system ]; then for name; do systemctl disable --quiet "${name%-server}" 2>/dev/null || true; done; fi'

asked=.setup/asked-${missing[*]:+$(IFS=+; echo "${missing[*]}")}
if [ ${#missing[@]} -gt 0 ] && [ -z "${MLOPS_OBS_NO_APT:-}" ] && [ ! -e "$asked" ] && command -v apt-get >/dev/null; then
  mkdir -p .setup
  sudo=""
  if [ "$(id -u)" != 0 ]; then sudo="sudo -n"; fi
  if [ -z "$sudo" ] || $sudo true 2>/dev/null; then
    echo "setup: installing ${missing[*]}"
    $sudo sh -c "$install" sh "${missing[@]}" >.setup/apt.log 2>&1 || {
      touch "$asked"
      echo "setup: could not install ${missing[*]} (see .setup/apt.log); what needs them falls back or is skipped with a reason" >&2
    }
  else
    touch "$asked"
    echo "setup: not allowed to install ${missing[*]}; to have them: sudo apt-get install ${missing[*]}" >&2
  fi
fi

# --- Python
stamp=.venv/.ready-$(cat pyproject.toml constraints.txt | sha256sum | cut -c1-16)
[ -e "$stamp" ] && exit 0
python=$(command -v python3.11 || command -v python3.12 || command -v python3 || true)
[ -n "$python" ] && "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' ||
  { echo "setup: Python 3.11 or 3.12 is needed, found ${python:-none}; install python3 and python3-venv" >&2; exit 1; }
echo "setup: making .venv from constraints.txt (about 2 GB, a few minutes the first time)"
rm -f .venv/.ready-*
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  rm -rf .venv # half made: interrupted, or the Python it came from is gone
  "$python" -m venv .venv || { rm -rf .venv; echo "setup: cannot make .venv; install python3-venv" >&2; exit 1; }
fi
# torch first: where pip is pointed to its CPU builds it takes one, and leaves out the gigabytes of CUDA that the default build brings.
.venv/bin/python -m pip install -qq -c constraints.txt 'torch==2.13.0'
.venv/bin/python -m pip install -qq -c constraints.txt -e '.[all,dev]'
touch "$stamp"
