#!/usr/bin/env bash
#SBATCH --job-name=cnnjax
#SBATCH --array=0-7
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=4:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
# Eight workers on one study, each a job of its own: sbatch containers/slurm.sh runs/study [arguments of cnnjax work ...]
# `cnnjax sweep FILE --launcher none --out runs/study` has planned it. (`--launcher slurm` writes and submits such a job
# by itself; this one is for queues that want it in their own way.) Two minutes before the time is over a worker saves and
# ends; the same command goes on.
set -euo pipefail
study=${1:?the folder of a study}
shift
# With GPUs: #SBATCH --gres=gpu:1. In a container: cnnjax=(apptainer run --nv cnnjax.sif)
cnnjax=(cnnjax)
"${cnnjax[@]}" work "$study" --worker "$(hostname -s)-${SLURM_JOB_ID:-0}" "$@" &
worker=$!
trap 'kill -TERM "$worker"' TERM
# The first `wait` ends when the signal comes, the second when all is saved.
wait "$worker" || wait "$worker"
