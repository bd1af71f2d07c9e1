#!/usr/bin/env bash
# Everything that is to be known on a GPU, within 9 minutes, on a CUDA machine without network: agreement with the CPU, speed,
# and quality with a prior trained for TRAIN_MINUTES.
#
#   benchmarks/gpu.sh wheels                 where there is a network: fetch what the machine lacks into benchmarks/wheels
#   benchmarks/gpu.sh VOLUME [OUT]           on the CUDA machine, whose python3 has torch; VOLUME is isotropic
#
# PYTHON (default python3), TRAIN_MINUTES (default 7), FACTOR (8), ROI (z, y, x in voxels) and TARGET (Python of the CUDA
# machine, such as 3.12, for `wheels`) may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
PACKAGES=(pydantic pyyaml safetensors scipy pandas pyarrow "zarr>=3.1.3" "dask[array]" tifffile imagecodecs matplotlib pillow
  scikit-image h5py pytest pytest-timeout hypothesis)

if [ "${1:-}" = wheels ]; then
  "$PYTHON" -m pip download -q -d benchmarks/wheels -c envs/constraints.txt --only-binary=:all: \
    --python-version "${TARGET:-3.12}" "${PACKAGES[@]}"
  du -sh benchmarks/wheels
  exit
fi
VOLUME=${1:?usage: benchmarks/gpu.sh wheels | benchmarks/gpu.sh VOLUME [OUT]}
OUT=${2:-results/gpu}
mkdir -p "$OUT"
started=$SECONDS
if [ -d benchmarks/wheels ]; then
  "$PYTHON" -m venv --system-site-packages "$OUT/venv"
  PYTHON=$OUT/venv/bin/python
  "$PYTHON" -m pip install -q --no-index --find-links benchmarks/wheels "${PACKAGES[@]}"
fi
export PYTHONPATH=$PWD/src PYTHONUNBUFFERED=1
"$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
"$PYTHON" -m pytest -q -m gpu tests/gpu 2>&1 | tee "$OUT/agreement.txt"
for batch in 1 8 32; do
  "$PYTHON" -m isofield.cli benchmark speed --device cuda --batch "$batch" --out "$OUT/speed-$batch" 2>&1 | tee "$OUT/speed-$batch.txt"
done
echo "set-up, agreement and speed took $((SECONDS - started)) s"
"$PYTHON" -m isofield.cli benchmark quality --volume "$VOLUME" --factors "${FACTOR:-8}" --roi "${ROI:-40:200,45:205,45:205}" \
  --methods linear,cubic,ridge,slices_mean,isofield,isofield_detail --train-minutes "${TRAIN_MINUTES:-7}" --device cuda \
  --out "$OUT/quality" 2>&1 | tee "$OUT/quality.txt"
echo "all took $((SECONDS - started)) s; see $OUT"
