#!/usr/bin/env bash
# Installs cnnjax on every host of a TPU slice and trains one experiment on all of them together; run it where gcloud is.
#   containers/tpu_vm.sh NAME ZONE EXPERIMENT.py [arguments of cnnjax train ...]
# NAME: an existing TPU VM or slice. The wheel is dist/cnnjax-*.whl (.ci/package builds it). Hosts meet by themselves
# (docs/hosts.md); the folder that is written is on a disk that all of them mount at /mnt/runs.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,5p' "$0"
  exit 2
fi
name=$1 zone=$2 file=$3
shift 3
root=$(cd "$(dirname "$0")/.." && pwd)
wheel=$(ls "$root"/dist/cnnjax-*.whl)
on_all() { gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command "$1"; }

gcloud compute tpus tpu-vm scp "$wheel" "$root/constraints.txt" "$file" "$name:" --zone "$zone" --worker all
on_all "python3 -m venv cnnjax && cnnjax/bin/pip install --quiet --constraint constraints.txt './$(basename "$wheel")[tpu]'"
on_all "cnnjax/bin/cnnjax doctor"
words=$(printf '%q ' "$@")
on_all "cnnjax/bin/cnnjax train $(printf '%q' "$(basename "$file")") --hosts tpu --out /mnt/runs/$(basename "$file" .py) $words"
