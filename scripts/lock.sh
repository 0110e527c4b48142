#!/usr/bin/env bash
# Resolve the pinned requirements files again. Needs uv; everything else needs only pip.
#
#   scripts/lock.sh              keep the pins that still fit
#   scripts/lock.sh --upgrade    take the newest releases
set -euo pipefail
cd "$(dirname "$0")/.."

# A wheel folder that happens to be configured here must not leak into files made for everybody
unset PIP_FIND_LINKS UV_FIND_LINKS

compile() {
    "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --custom-compile-command scripts/lock.sh "$@"
}

compile "$@" pyproject.toml requirements/build.in --extra demo --output-file requirements/demo.txt
compile "$@" requirements/dev.in --constraints requirements/demo.txt --output-file requirements/dev.txt
compile "$@" requirements/kserve.in --output-file requirements/kserve.txt
compile "$@" requirements/heavy.in --constraints requirements/demo.txt --constraints requirements/dev.txt \
    --output-file requirements/heavy.txt

# Peers of the serving benchmark, each in an environment of its own: plain pins, for the one platform it runs on
for peer in benchmarks/serving/peers/*/requirements.in; do
    "${UV:-uv}" pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_36 --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command scripts/lock.sh "$@" \
        "$peer" --output-file "${peer%.in}.txt"
done
