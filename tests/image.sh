#!/usr/bin/env bash
# Builds envs/Dockerfile and runs the workflow in it as a user whom it does not know. Root, with buildah and mmdebstrap:
#
#   tests/image.sh [options of buildah build, such as --volume /etc/pip.conf:/etc/pip.conf:ro]
#
# Where the base image cannot be fetched, one of Debian's packages stands in for it.
set -euo pipefail
cd "$(dirname "$0")/.."
export STORAGE_DRIVER="${STORAGE_DRIVER:-vfs}" BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
base=docker.io/library/$(sed -n 's/^FROM //p' envs/Dockerfile)
folder=$(mktemp -d)
container=""
trap '[ -z "$container" ] || buildah rm "$container" >/dev/null; rm -rf "$folder"' EXIT

if ! buildah inspect --type image "$base" >/dev/null 2>&1 && ! buildah pull "$base" 2>/dev/null; then
  mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,ca-certificates "${base##*-}" "$folder/root.tar"
  printf '%s\n' 'FROM scratch' 'ADD root.tar /' \
    'RUN rm /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s /usr/bin/python3 /usr/local/bin/python' >"$folder/Dockerfile"
  buildah build --quiet --tag "$base" "$folder"
fi
# What git knows, as a fresh clone has it.
mkdir "$folder/checkout" "$folder/work"
git archive HEAD | tar --extract --directory "$folder/checkout"
buildah build --quiet --network host --tag isofield "$@" --file envs/Dockerfile "$folder/checkout"

cat >"$folder/work/my_volume.yaml" <<'EOF'
run: {name: small, threads_per_job: 1}
source: {path: "phantom:tissue?shape=64,64,64", simulate: {factor: 4}}
blocks: {write_vox: 32, context_vox: 8, overlap_vox: 4}
prior: {steps: 50, warmup_steps: 5, batch: 4, channels: [8, 16], patch_vox: 32}
output: {chunk_vox: 16, shard_vox: 32, pyramid_min_vox: 32}
quality: {n_spectrum_cubes: 2, spectrum_cube_vox: 32, seam_reach_vox: 12}
report: {n_slices: 1}
EOF
chown -R 1234:1234 "$folder/work"
chmod 755 "$folder"
container=$(buildah from isofield)
inside() { buildah run --user 1234:1234 --volume "$folder/work:/work" "$container" -- "$@"; }
inside isofield-run --configfile my_volume.yaml
inside isofield verify results/small
for file in report/index.html isotropic.ome.zarr/zarr.json jobs/tidy.json; do
  [ "$(stat --format %u "$folder/work/results/small/$file")" = 1234 ] || { echo "failed: $file is not the user's"; exit 1; }
done
echo "built and run: $(inside isofield --version), $(inside python --version), $(buildah images --format '{{.Size}}' isofield)"
