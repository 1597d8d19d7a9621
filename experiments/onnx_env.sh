#!/usr/bin/env bash
# Makes the environment that `experiments.export --format=onnx --onnx_env=DIR` converts in:
#     bash experiments/onnx_env.sh DIR
# jax2onnx 0.17.1 pins an Orbax older than the one that training needs, so the two cannot share one.
set -euo pipefail

if [[ $# -ne 1 || "$1" == -* ]]; then
    echo "usage: bash experiments/onnx_env.sh DIR" >&2
    exit 2
fi
python3 -m venv "$1"
"$1/bin/pip" install --quiet --upgrade pip
"$1/bin/pip" install --quiet "jax2onnx==0.17.1" "onnxruntime>=1.20" "optax>=0.2.5" \
    "safetensors>=0.5" "scikit-learn>=1.6" "soundfile>=0.13" "soxr>=0.5"
echo "made      $1; now: python -m experiments.export --format=onnx --onnx_env=$1 ..."
