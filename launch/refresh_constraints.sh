#!/usr/bin/env bash
# Writes launch/constraints.txt: the exact versions that pip installs today for this package.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
if [[ "${1:-}" == --dry-run ]]; then
  echo "${PYTHON:-python3} -m venv VENV && VENV/bin/pip install $here && VENV/bin/pip freeze --exclude mgr_jax > $here/launch/constraints.txt"
  exit 0
fi
[[ $# -eq 0 ]] || { echo "error: unexpected argument '$1'; the only flag is --dry-run" >&2; exit 2; }
venv=$(mktemp -d)
trap 'rm -rf -- "$venv"' EXIT
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet "$here"
"$venv/bin/pip" freeze --exclude mgr_jax > "$venv/constraints.txt"
mv -- "$venv/constraints.txt" "$here/launch/constraints.txt"
echo "launch/constraints.txt: $(wc -l < "$here/launch/constraints.txt") packages"
