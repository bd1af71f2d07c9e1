#!/usr/bin/env bash
# Everything that is to be known on a GPU, within 9 minutes, on a CUDA machine without network: agreement with the CPU, speed, and
# quality at several factors beside other methods, all of which train at the same time for TRAIN_MINUTES.
#
#   benchmarks/gpu.sh wheels                 where there is a network: fetch what the machine lacks into benchmarks/wheels
#   benchmarks/gpu.sh VOLUME [OUT]           on the CUDA machine, whose python3 has torch; VOLUME is isotropic
#
# To be set: PYTHON (default python3); PACKAGES, what the machine lacks, and TARGET, its Python such as 3.12, both for `wheels`;
# TRAIN_MINUTES (default 4), FACTORS (8), ROI (z, y, x in voxels), TEACHER (another isotropic volume, for the supervised bound) and SET
# (KEY=VALUE of the configuration, separated by spaces). At three factors, and with other work on the GPU, 4.5 minutes of training
# were too many for nine in all: a method counts its steps before the others have begun.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
# Beside numpy, scipy, pandas, pyarrow, h5py, tifffile, scikit-image, matplotlib, safetensors, pytest and hypothesis.
PACKAGES=${PACKAGES:-pydantic pydantic-core annotated-types typing-inspection zarr numcodecs donfig google-crc32c dask partd locket}

if [ "${1:-}" = wheels ]; then
  # shellcheck disable=SC2086
  "$PYTHON" -m pip download -q -d benchmarks/wheels -c envs/constraints.txt --no-deps --only-binary=:all: \
    --python-version "${TARGET:-3.12}" --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 $PACKAGES
  du -sh benchmarks/wheels
  exit
fi
VOLUME=${1:?usage: benchmarks/gpu.sh wheels | benchmarks/gpu.sh VOLUME [OUT]}
OUT=${2:-results/gpu}
FACTORS=${FACTORS:-8}
mkdir -p "$OUT"
started=$SECONDS
export PYTHONPATH=$PWD/src PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
if [ -d benchmarks/wheels ]; then
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$OUT/site" benchmarks/wheels/*.whl
  PYTHONPATH=$PYTHONPATH:$(realpath "$OUT")/site
fi
isofield() { "$PYTHON" -m isofield.cli "$@"; }
"$PYTHON" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'
quality() { # FACTORS METHODS: what is in the folder already is kept, so many may fill it at the same time
  # shellcheck disable=SC2086
  isofield benchmark quality --volume "$VOLUME" --factors "$1" --methods "$2" --roi "${ROI:-40:200,45:205,45:205}" \
    --train-minutes "${TRAIN_MINUTES:-4}" --device cuda --threads 1 --out "$OUT/quality" ${TEACHER:+--teacher "$TEACHER"} \
    ${SET:+--config $SET} >"$OUT/quality-$1-${2%%,*}.txt" 2>&1
}
quality "$FACTORS" cubic,ridge &
# Without what other tests need: servers of object stores and the like.
"$PYTHON" -m pytest -q -s --noconftest -p no:cacheprovider -m gpu tests/gpu 2>&1 | tee "$OUT/agreement.txt"
for batch in 1 16; do
  isofield benchmark speed --device cuda --batch "$batch" --out "$OUT/speed-$batch" 2>&1 | tee "$OUT/speed-$batch.txt"
done
wait
echo "set-up, agreement and speed took $((SECONDS - started)) s"
learned=(regressor slices_mean,isofield ${TEACHER:+supervised})
for factor in ${FACTORS//,/ }; do
  for methods in "${learned[@]}"; do
    quality "$factor" "$methods" &
  done
done
wait
# Nothing is computed again: this writes the table of them all.
quality "$FACTORS" "cubic,ridge,$(IFS=, && echo "${learned[*]}")"
grep '^|' "$OUT/quality-$FACTORS-cubic.txt"
echo "all took $((SECONDS - started)) s; see $OUT"
