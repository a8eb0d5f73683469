#!/usr/bin/env bash
# Start one command on all hosts; it goes on when the connection ends. Its words are in ~/posttrain_jax/run.log there:
#     tpu/run.sh NAME ZONE experiments/grpo.py --model ... --folder ...
# JAX_COMPILATION_CACHE_DIR is handed on, where it is set.
set -euo pipefail
name=$1 zone=$2
shift 2

gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command "
    cd posttrain_jax
    export JAX_COMPILATION_CACHE_DIR=$(printf '%q' "${JAX_COMPILATION_CACHE_DIR:-}")
    nohup .venv/bin/python $(printf '%q ' "$@") > run.log 2>&1 < /dev/null & echo \$! > run.pid"
gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker 0 --command "tail -n 100 -F posttrain_jax/run.log"
