#!/usr/bin/env bash
# What each choice is worth: one change at a time, everything else as by default, the same minutes of training for each.
#
#   benchmarks/ablation.sh VOLUME OUT [MINUTES] [NAME...]
#
# VOLUME is isotropic; FACTOR (8) and ROI (z, y, x in voxels) may be set. NAMEs choose some of the changes below. Results that
# lie in OUT are kept; table.md there collects them.
set -euo pipefail
VOLUME=${1:?usage: benchmarks/ablation.sh VOLUME OUT [MINUTES] [NAME...]}
OUT=${2:?usage: benchmarks/ablation.sh VOLUME OUT [MINUTES] [NAME...]}
MINUTES=${3:-5}
shift $(($# < 3 ? $# : 3))
ISOFIELD=${ISOFIELD:-.venv/bin/isofield}

declare -A CHANGES=(
  [default]=""
  [one_round]="prior.rounds=1"
  [no_neighbours]="prior.neighbours=0"
  [two_neighbours]="prior.neighbours=2"
  [float32]="prior.precision=float32"
  [patches_of_64]="prior.patch_vox=64 prior.batch=16"
  [no_noise_match]="prior.noise_match=0"
  [wider]="prior.channels=[48,96,128]"
  [deeper]="prior.n_residual_blocks=2"
  [one_mode]="prior.posterior_mean_share=1 prior.unconditional_share=0"
  [long_average]="prior.ema_decay=0.9995"
  [slow]="prior.learning_rate=0.002"
  [fast]="prior.learning_rate=0.008"
  [no_data_term]="fit.data_weight=0"
  [weak_data_term]="fit.data_weight=1"
  [strong_data_term]="fit.data_weight=25"
  [coarse_grid]="field.strides_vox=[4,8] field.features=[8,8]"
  [fine_grid]="field.strides_vox=[1,4] field.features=[1,4]"
  [long_fit]="fit.steps=120 fit.stop_below=0"
  [wide_context]="blocks.context_vox=32"
)
NAMES=("$@")
if [ ${#NAMES[@]} = 0 ]; then
  mapfile -t NAMES < <(printf '%s\n' "${!CHANGES[@]}" | grep -vx default | sort)
  NAMES=(default "${NAMES[@]}")
fi
for name in "${NAMES[@]}"; do
  change=${CHANGES[$name]?no such change: $name}
  # Changes of the fit alone share the prior of the default.
  if [[ $change == fit.* || $change == field.* || $change == blocks.* ]] && [ -d "$OUT/default" ] && [ ! -d "$OUT/$name" ]; then
    mkdir -p "$OUT/$name/x${FACTOR:-8}"
    cp -r "$OUT/default/x${FACTOR:-8}/prior" "$OUT/$name/x${FACTOR:-8}/prior"
  fi
  # shellcheck disable=SC2086
  "$ISOFIELD" benchmark quality --volume "$VOLUME" --factors "${FACTOR:-8}" --roi "${ROI:-40:200,45:205,45:205}" \
    --methods cubic,slices_mean,isofield --train-minutes "$MINUTES" --out "$OUT/$name" ${change:+--config $change} >/dev/null
  sed "s/^| *${FACTOR:-8} *|/| $name |/" "$OUT/$name/table.md" | if [ "$name" = "${NAMES[0]}" ]; then cat; else tail -n +3; fi
done | tee "$OUT/table.md"
