#!/usr/bin/env bash
# Everything that must hold, in parts. Does its own set-up; prints the minutes of each part and, at the very end,
# `N passed, N failed`: each test of a test program counts, and each other part as one.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Build results outlive the checkout: they are only a cache.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/heliotrope
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
export CARGO_TERM_COLOR=never
mkdir -p "$cache"

# What was built for older sources and other flags is never taken away by cargo: on a machine that tests day after day it fills the
# disk, and a node whose disk is full runs no pods.
if [ "${CI:-}" = true ] && [ -d "$cache/target" ] && [ "$(du -sm "$cache/target" | cut -f1)" -gt 25000 ]; then
  echo "the build cache is above 25 GB: built anew"
  rm -rf "$cache/target"
fi

passed=0
failed=0
report=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# part NAME COMMAND...: runs it, counts it.
part() {
  local name=$1 started=$SECONDS outcome minutes
  shift
  printf '\n== %s\n' "$name"
  if "$@" 2>&1 | tee "$log"; then outcome=ok; else outcome=FAILED; fi
  local sums good bad
  sums=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$log" |
    awk '{good += $1; bad += $2} END {if (NR) print good, bad}')
  if [ -n "$sums" ]; then
    read -r good bad <<<"$sums"
    if [ "$outcome" = FAILED ] && [ "$bad" = 0 ]; then bad=1; fi
  elif [ "$outcome" = ok ]; then
    good=1 bad=0
  else
    good=0 bad=1
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
  minutes=$(awk -v s=$((SECONDS - started)) 'BEGIN {printf "%.1f", s / 60}')
  report+=("$(printf '%-22s %-7s %6s min' "$name" "$outcome" "$minutes")")
}

# Licences, bans and duplicate versions. Advisories are the one check that does not block: a new one must not stop a fix.
licences() {
  if ! command -v cargo-deny >/dev/null && [ ! -x "$cache/tools/bin/cargo-deny" ]; then
    echo "building cargo-deny once"
    # its own target folder: it must not mix with ours
    CARGO_TARGET_DIR="$cache/tools-target" cargo install cargo-deny --version 0.20.2 --locked --quiet --root "$cache/tools" || return 1
    rm -rf "$cache/tools-target"
  fi
  PATH="$cache/tools/bin:$PATH" cargo-deny --all-features check licenses bans sources
}

# A real node needs these. On a machine that only tests they are installed; a person is told, and its tests are skipped.
real_node_programs() {
  local program missing=()
  for program in containerd runc ctr; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ ${#missing[@]} -gt 0 ] || [ ! -x /usr/lib/cni/ptp ] || return 0
  if [ "${CI:-}" != true ]; then
    echo "tests on a real node are skipped: install containerd, runc and containernetworking-plugins (missing: ${missing[*]:-CNI plugins})"
    return 0
  fi
  local packages=(containerd runc containernetworking-plugins)
  apt-get install --yes --no-install-recommends "${packages[@]}" ||
    { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; }
}

part "format" cargo fmt --all --check
part "format of fuzzing" cargo fmt --check --manifest-path fuzz/Cargo.toml
part "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
part "licences and bans" licences
part "testbed programs" bash tests/testbed/assets.sh
part "real node's programs" real_node_programs
part "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
part "tests" cargo test --workspace --locked --no-fail-fast

printf '\n'
printf '%s\n' "${report[@]}"
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
