#!/usr/bin/env bash
# Make a fresh Ubuntu 24.04 machine a node: distjoint and Ray, as constraints.txt pins them, in ~/venv.
#   bash node.sh cpu|cuda [PACKAGE...]
# The launcher runs it on every node, beside the files that aws.yaml and gcp.yaml mount; running it again is harmless.
set -euo pipefail
kind=${1:?usage: node.sh cpu|cuda [PACKAGE...]}
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# A machine that has just booted updates itself, and holds apt's lock.
sudo cloud-init status --wait >/dev/null || true
sudo apt-get -o DPkg::Lock::Timeout=600 -qq update
sudo apt-get -o DPkg::Lock::Timeout=600 -qq install --yes --no-install-recommends python3-venv rsync

[ -x ~/venv/bin/python ] || python3 -m venv ~/venv
pip=(~/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint "$here/constraints.txt")
if [ "$kind" = cpu ]; then # on PyPI torch brings CUDA's libraries
    "${pip[@]}" --no-deps --index-url https://download.pytorch.org/whl/cpu torch
fi
"${pip[@]}" "$here" "$@"

# For Ray's own commands, which come through a login shell, and for who logs in.
for line in 'export PATH=$HOME/venv/bin:$PATH' 'export RAY_AUTH_MODE=token'; do
    grep -qxF "$line" ~/.bashrc || echo "$line" >> ~/.bashrc
done
