#!/usr/bin/env bash
# Create TPU VMs, put this folder on all their hosts, install it there. Run from the repository's root:
#     tpu/create.sh NAME ZONE ACCELERATOR_TYPE RUNTIME_VERSION
set -euo pipefail
name=$1 zone=$2 type=$3 version=$4

gcloud compute tpus tpu-vm create "$name" --zone "$zone" --accelerator-type "$type" --version "$version"
git archive --format tar.gz --prefix posttrain_jax/ --output posttrain_jax.tar.gz HEAD
gcloud compute tpus tpu-vm scp posttrain_jax.tar.gz "$name:" --zone "$zone" --worker all
rm posttrain_jax.tar.gz
gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command "
    set -e
    tar -xzf posttrain_jax.tar.gz
    sudo apt-get -qq update && sudo apt-get -qq install -y python3.11-venv
    cd posttrain_jax && python3.11 -m venv .venv
    .venv/bin/pip install --quiet --upgrade pip
    .venv/bin/pip install --quiet --constraint constraints.txt --editable '.[tpu]'
    .venv/bin/python -c 'import jax; jax.distributed.initialize(); print(jax.process_index(), jax.device_count())'"
