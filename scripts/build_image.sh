#!/usr/bin/env bash
usage() {
  cat <<'TEXT'
Build the CPU image without Docker, and try it: buildah in chroot isolation, which needs no daemon and no privileges
inside a container. The trial runs as the image's user, uid 1000, and reads nothing from the network.

  scripts/build_image.sh [--local-base] [--tag NAME] [--no-trial] [-- ARGUMENT...]

  --local-base   first make the base image from Debian's packages by debootstrap, under the name that the Dockerfile
                 asks for (as root; kept till you remove it): for machines that reach Debian's archive, no registry
  --tag NAME     name of the image                                                      [distjoint:cpu]
  --no-trial     build only
  ARGUMENT       more for `buildah bud`, like --build-arg TORCH_INDEX=https://... or --volume /wheels:/wheels:ro

Images are kept where `buildah images` shows them. Removed by: buildah rmi NAME
TEXT
}
set -euo pipefail

tag=distjoint:cpu local_base= trial=yes
while [[ $# -gt 0 ]]; do
  case $1 in
    --local-base) local_base=yes ;;
    --tag) tag=${2:?--tag needs a name}; shift ;;
    --no-trial) trial= ;;
    -h | --help) usage; exit ;;
    --) shift; break ;;
    *) usage >&2; echo "build_image.sh: no such option: $1" >&2; exit 2 ;;
  esac
  shift
done
cd "$(dirname "$0")/.."

need() {
  command -v "$1" > /dev/null && return
  echo "build_image.sh: $1 is not installed; on Debian and Ubuntu: apt-get install $1" >&2
  exit 1
}
need buildah
export BUILDAH_ISOLATION=chroot

scratch=$(mktemp -d)
container=
clean() {
  [[ -z $container ]] || buildah rm "$container" > /dev/null
  rm -rf "$scratch"
}
trap clean EXIT

# A stand-in for python:3.11-slim: Debian's own Python, found as `python` on the same PATH.
make_base() {
  local name=$1 suite=${1##*-}
  need debootstrap
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$scratch/base" > "$scratch/log" ||
    { tail -n 20 "$scratch/log" >&2; exit 1; }
  chroot "$scratch/base" apt-get clean
  # As the official images do: apt keeps no packages and no caches of its lists.
  cat > "$scratch/base/etc/apt/apt.conf.d/docker-clean" <<'APT'
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
APT
  rm -rf "$scratch"/base/var/lib/apt/lists/*
  ln -s /usr/bin/python3 "$scratch/base/usr/local/bin/python"
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$scratch/base" / > /dev/null
  buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin --cmd python "$container"
  buildah commit --quiet "$container" "$name" > /dev/null
  buildah rm "$container" > /dev/null
  container=
  rm -rf "$scratch/base"
}

pull=--pull
if [[ $local_base ]]; then
  pull=--pull-never
  base=docker.io/library/$(sed -n 's/^ARG PYTHON_IMAGE=//p' docker/Dockerfile)
  buildah inspect --type image "$base" > /dev/null 2>&1 || make_base "$base"
fi

# Layers, so that a change of code does not install the dependencies again.
buildah bud "$pull" --layers --format docker --file docker/Dockerfile --tag "$tag" \
  --build-arg REVISION="$(git rev-parse --short HEAD 2> /dev/null || echo unknown)" "$@" .
buildah images "$tag"
[[ $trial ]] || exit 0

container=$(buildah from --pull-never "$tag")
echo "trial of $tag, in a login shell as KubeRay starts it:"
buildah run "$container" -- bash -lc "$(cat <<'TRIAL'
set -euo pipefail
test "$(id -u)" = 1000
test "$(command -v python)" = /opt/venv/bin/python
distjoint --version
ray --version
cd
distjoint demo --out demo --set train.epochs=1 --set model.dim=32
TRIAL
)"
echo "$tag works"
