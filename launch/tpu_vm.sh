#!/usr/bin/env bash
# Creates a Cloud TPU slice, trains on it and deletes it: launch/tpu_vm.sh COMMAND FLAGS
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: launch/tpu_vm.sh COMMAND --name=NAME --zone=ZONE [flags]

  create   request the slice and wait until it is ready       --type=v5litepod-16 [--spot] [--runtime=V]
  setup    copy this checkout to every host and install it
  run      start or resume the training on every host         -- --config=FILE --workdir=DIR ...
  status   state of the slice, and of the training on every host
  logs     follow the log of the first host
  delete   give the slice back; it costs money until you do

  --project=P  Google Cloud project; empty takes that of gcloud's configuration.
  --dry-run    print each command, run nothing.

After a spot preemption run the same commands again: create replaces a lost slice, and the training
resumes from its last checkpoint. The workdir must be shared by all hosts: Filestore, or a bucket
mounted by gcsfuse.
TEXT
}

fail() {
  echo "error: $*" >&2
  exit 2
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
name=''
zone=''
project=''
type=''
runtime=''
spot=false
dry_run=false
train=()
[[ $# -gt 0 ]] || { usage >&2; exit 2; }
action=$1
shift
case "$action" in
  create | setup | run | status | logs | delete) ;;
  --help | -h) usage; exit 0 ;;
  *) fail "unknown command '$action'; give create, setup, run, status, logs or delete" ;;
esac
while [[ $# -gt 0 ]]; do
  case "$1" in
    --help | -h) usage; exit 0 ;;
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --spot) spot=true ;;
    --dry-run) dry_run=true ;;
    --) shift; train=("$@"); break ;;
    *) fail "unexpected argument '$1'; see --help" ;;
  esac
  shift
done
[[ "$name" =~ ^[a-z]([-a-z0-9]{0,60}[a-z0-9])?$ ]] || fail "--name is '$name'; give lower-case letters, digits and hyphens"
[[ "$zone" =~ ^[a-z]+-[a-z]+[0-9]+-[a-z]$ ]] || fail "--zone is '$zone'; give one such as us-west4-a"
[[ "$project" =~ ^[-a-z0-9:.]*$ ]] || fail "--project is '$project'; give a project id"
[[ "$action" == run || ${#train[@]} -eq 0 ]] || fail "flags of the training after -- belong to run"

place=("--zone=$zone")
[[ -n "$project" ]] && place+=("--project=$project")

# Prints a command under --dry-run, else runs it.
act() {
  if "$dry_run"; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

on_hosts() { # on_hosts HOSTS COMMAND
  act gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" "--worker=$1" "--command=$2"
}

state() {
  gcloud compute tpus queued-resources describe "$name" "${place[@]}" '--format=value(state.state)' 2>/dev/null || echo NONE
}

create() {
  [[ "$type" =~ ^(v[2-4]|v5litepod|v5p|v6e)-[0-9]+$ ]] || fail "--type is '$type'; give one such as v5litepod-16, v5p-8 or v6e-8"
  if [[ -z "$runtime" ]]; then
    case "$type" in
      v5litepod-*) runtime=v2-alpha-tpuv5-lite ;;
      v5p-*) runtime=v2-alpha-tpuv5 ;;
      v6e-*) runtime=v2-alpha-tpuv6e ;;
      *) runtime=tpu-ubuntu2204-base ;;
    esac
  fi
  local current=NONE
  "$dry_run" || current=$(state)
  case "$current" in
    SUSPENDED | SUSPENDING | FAILED)
      echo "the slice is $current; taking a new one"
      delete
      current=NONE
      ;;
  esac
  if [[ "$current" == NONE ]]; then
    local request=(gcloud compute tpus queued-resources create "$name" "--node-id=$name" "${place[@]}"
      "--accelerator-type=$type" "--runtime-version=$runtime")
    "$spot" && request+=(--spot)
    act "${request[@]}"
  fi
  "$dry_run" && return
  until [[ "$(state)" == ACTIVE ]]; do
    case "$(state)" in
      FAILED | SUSPENDED | NONE) fail "the request ended as $(state); look at: gcloud compute tpus queued-resources describe $name ${place[*]}" ;;
    esac
    echo "$(date +%T) waiting for the slice: $(state)"
    sleep 30
  done
  echo "$name is there; it costs money until: launch/tpu_vm.sh delete --name=$name ${place[*]}"
}

setup() {
  local archive
  archive=$(mktemp --suffix=.tar.gz)
  # shellcheck disable=SC2064
  trap "rm -f -- '$archive'" EXIT
  act git -C "$here" archive --format=tar.gz "--output=$archive" HEAD
  act gcloud compute tpus tpu-vm scp "$archive" "$name:mgr_jax.tar.gz" "${place[@]}" --worker=all
  # The image's own Python is older than we need.
  on_hosts all 'mkdir -p mgr_jax && tar -xzf mgr_jax.tar.gz -C mgr_jax && cd mgr_jax && python3 -m pip install -q --user uv && python3 -m uv venv -q --allow-existing --python 3.12 .venv && python3 -m uv pip install -q -p .venv -c launch/constraints.txt -e . "jax[tpu]"'
}

run() {
  [[ " ${train[*]} " == *' --config='* ]] || fail "--config is missing; give it after --"
  [[ " ${train[*]} " == *' --workdir='* ]] || fail "--workdir is missing; give it after --, where all hosts see it"
  local flags
  flags=$(printf '%q ' "${train[@]}")
  # Started once: a second run finds the first by its pid file.
  on_hosts all "cd mgr_jax && if [ -f train.pid ] && kill -0 \$(cat train.pid) 2>/dev/null; then echo running already; else nohup .venv/bin/python -m experiments.train $flags --distributed >> train.log 2>&1 & echo \$! > train.pid; fi"
}

status() {
  act gcloud compute tpus queued-resources describe "$name" "${place[@]}" '--format=value(state.state)'
  # shellcheck disable=SC2016
  on_hosts all 'cd mgr_jax && if [ -f train.pid ] && kill -0 $(cat train.pid) 2>/dev/null; then echo running; else echo not running; fi; tail -n 2 train.log'
}

logs() {
  on_hosts 0 'tail -n 200 -F mgr_jax/train.log'
}

delete() {
  act gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet
}

"$action"
