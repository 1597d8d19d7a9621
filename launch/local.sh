#!/usr/bin/env bash
# Trains on the devices of one host: launch/local.sh --config=FILE --workdir=DIR [more flags of train]
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/local.sh [--dry-run] [--processes=N] --config=FILE --workdir=DIR [flags of experiments.train]

One process drives all devices of the host, which is what you want unless you test --distributed.
  --processes=N  N processes on this host, each with its share of the GPUs, else with CPU devices.
  --dry-run      print the commands, run nothing.
The exit code is that of the training: 75 means preempted, the same command goes on.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
dry_run=false
processes=1
config=''
workdir=''
train=()
for argument in "$@"; do
  case "$argument" in
    --help | -h) usage; exit 0 ;;
    --dry-run) dry_run=true ;;
    --processes=*) processes=${argument#*=} ;;
    --config=*) config=${argument#*=}; train+=("$argument") ;;
    --workdir=*) workdir=${argument#*=}; train+=("$argument") ;;
    --*) train+=("$argument") ;;
    *) fail "unexpected argument '$argument'; flags have the form --name=value" ;;
  esac
done
[[ "$processes" =~ ^[1-9][0-9]*$ ]] || fail "--processes is '$processes'; give a whole number from 1"
[[ -n "$config" ]] || fail "--config is missing; give a file of experiments/configs"
[[ -n "$workdir" ]] || fail "--workdir is missing; give the folder of the run"

# The memory that one step frees is kept for the next one, as `keep_freed_memory` of
# experiments/command.py has it, here from the start of the process on.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_--1}"

command=("${PYTHON:-python}" -m experiments.train "${train[@]}")
cd -- "$here"
if ((processes == 1)); then
  if "$dry_run"; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
  fi
  exec "${command[@]}"
fi

# A port of this host that nobody listens on, for the processes to find each other.
port=${MGR_JAX_PORT:-$("${PYTHON:-python}" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')}
# The GPUs that the user, or Slurm, leaves to this script; all of the host by default.
gpus=()
if [[ -v CUDA_VISIBLE_DEVICES ]]; then
  [[ "$CUDA_VISIBLE_DEVICES" == NoDevFiles ]] || IFS=, read -r -a gpus <<<"$CUDA_VISIBLE_DEVICES"
elif command -v nvidia-smi >/dev/null; then
  mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | grep -x '[0-9]*')
fi
share=$((${#gpus[@]} / processes))
if ((${#gpus[@]} != share * processes)); then
  fail "--processes is $processes, which cannot share ${#gpus[@]} GPU(s) evenly; give a number that divides them"
fi
command+=(--distributed "--coordinator_address=127.0.0.1:$port" "--num_processes=$processes")
pids=()
stop() {
  for pid in "${pids[@]}"; do kill -"$1" "$pid" 2>/dev/null || true; done
}
# All of them save at the same step, and end by themselves.
trap 'stop TERM' TERM
trap 'stop INT' INT
for ((i = 0; i < processes; i++)); do
  process=(env)
  if ((share)); then
    process+=("CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${gpus[*]:i * share:share}")")
  fi
  process+=("${command[@]}" "--process_id=$i")
  if "$dry_run"; then
    printf '%q ' "${process[@]}"
    echo '&'
  else
    "${process[@]}" &
    pids+=($!)
  fi
done
"$dry_run" && exit 0
code=0
while ((${#pids[@]})); do
  finished=''
  # A signal to this script ends the wait, with a code above 128 and no finished process.
  wait -n -p finished "${pids[@]}" || ended=$?
  ended=${ended:-0}
  if [[ -n "$finished" ]]; then
    left=()
    for pid in "${pids[@]}"; do [[ "$pid" == "$finished" ]] || left+=("$pid"); done
    pids=("${left[@]}")
    # One that fails takes the others along: they would wait for it for ever.
    if ((ended != 0)); then
      ((code == 0)) && code=$ended
      ((ended != 75 && ended != 130)) && stop KILL
    fi
  fi
  unset ended
done
exit "$code"
