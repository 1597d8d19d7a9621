#!/usr/bin/env bash
# Writes launch/constraints.txt: the exact versions that pip installs today for this package, its web
# page, CUDA and TPUs. It downloads descriptions of packages, not the packages.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
resolve=("${PYTHON:-python3}" -m pip install --quiet --dry-run --ignore-installed --report -
  "${here}[app,cuda,tpu]")
if [[ "${1:-}" == --dry-run ]]; then
  echo "${resolve[*]} > REPORT, then name==version of each to $here/launch/constraints.txt"
  exit 0
fi
[[ $# -eq 0 ]] || { echo "error: unexpected argument '$1'; the only flag is --dry-run" >&2; exit 2; }
lines=$("${resolve[@]}" | "${PYTHON:-python3}" -c '
import json, sys
packages = [package["metadata"] for package in json.load(sys.stdin)["install"]]
lines = ["{name}=={version}".format(**p) for p in packages if p["name"] != "mgr_jax"]
print(*sorted(lines, key=str.lower), sep="\n")')
echo "$lines" > "$here/launch/constraints.txt"
echo "launch/constraints.txt: $(wc -l < "$here/launch/constraints.txt") packages"
