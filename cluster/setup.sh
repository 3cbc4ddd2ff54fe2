#!/usr/bin/env bash
# Makes the environment of a node, once. `own.yaml`, `aws.yaml` and `gcp.yaml` copy this file to each
# node and run it there, with the extra of its object store:
#
#   bash ~/embedlib-node/setup.sh s3
#
# No launcher rebuilds environments for workers: what is here is what they run in.
set -euo pipefail
cd "$(dirname "$0")"
extras=${1:?name the extras, such as s3}

chmod 600 auth_token
grep -qs embedlib-node ~/.bashrc || echo '. ~/embedlib-node/environment.sh' >> ~/.bashrc
test -x venv/bin/python || python3 -m venv venv

# A node with a card gets the runtime for cards, which is released under the number of the other.
cp requirements.lock constraints.txt
if nvidia-smi --list-gpus > /dev/null 2>&1; then
    extras+=,gpu
    sed -i 's/^onnxruntime==/onnxruntime-gpu==/' constraints.txt
fi

# The lock is taken as constraints, because it names the tools of developers too. The second pip
# brings a wheel of the same version that has changed.
wheels=(dist/embedlib-*.whl)
venv/bin/pip install --constraint constraints.txt "${wheels[0]}[$extras]"
venv/bin/pip install --no-deps --force-reinstall "${wheels[0]}"
