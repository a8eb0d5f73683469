#!/usr/bin/env bash
# Ask the run to save and end (SIGTERM) on all hosts, and wait until it has:
#     tpu/stop.sh NAME ZONE
# The VMs stay, and cost; delete them with: gcloud compute tpus tpu-vm delete NAME --zone ZONE
set -euo pipefail
name=$1 zone=$2

gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command "
    pid=\$(cat posttrain_jax/run.pid)
    kill -TERM \$pid 2> /dev/null || true
    while kill -0 \$pid 2> /dev/null; do sleep 1; done
    tail -n 3 posttrain_jax/run.log"
