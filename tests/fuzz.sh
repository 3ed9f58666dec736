#!/usr/bin/env bash
# Fuzzes the readers of signals, led by coverage, for FUZZ_SECONDS (600), and writes what came of it to
# docs/fuzz.log.md. What was found before is kept in the cache and gone on from. Stable Rust: LLVM's coverage is a flag of code generation.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

most=${FUZZ_SECONDS:-600}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/heliotrope
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}/fuzz
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
# a target that is named keeps these flags from build scripts and macros
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host" || exit 1
binary=$CARGO_TARGET_DIR/$host/release/readers
corpus=$CARGO_TARGET_DIR/corpus
seeds=$CARGO_TARGET_DIR/seeds
found=$CARGO_TARGET_DIR/found
mkdir -p "$corpus" "$found"
rm -rf "$seeds" && mkdir -p "$seeds"
# each file for each reader, A to T
for file in fuzz/seeds/* ../shared/data/signal-samples/*; do
  [ -f "$file" ] || continue
  for letter in {A..T}; do { printf %s "$letter"; cat "$file"; } >"$seeds/$letter-$(basename "$file")"; done
done
run=$(mktemp)
trap 'rm -f "$run"' EXIT
nice "$binary" -max_total_time="$most" -max_len=16384 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
  -artifact_prefix="$found/" "$corpus" "$seeds" 2>&1 | tee "$run" | grep -vE '^#[0-9]+\s+(NEW|REDUCE|RELOAD)'
outcome=${PIPESTATUS[0]}
# "#N DONE cov: E ft: F corp: C/B ...", and statistics after it
last=$(grep -E 'cov: [0-9]+' "$run" | tail -1)
figure() { sed -nE "s/.*$1 *([0-9]+).*/\1/p" <<<"$last"; }
executions=$(sed -nE 's/^stat::number_of_executed_units: *([0-9]+)/\1/p' "$run")
if [ "$outcome" = 0 ]; then what=nothing; else what="**exit $outcome**: $(ls "$found" | tail -1)"; fi
{
  printf '# Fuzzing of the readers of signals\n\n'
  printf 'Written by `make fuzz`: any bytes to each of the readers (%s of them), to the zip file and the login, and then to what judges all readings, led by the\n' 18
  printf 'coverage of their code. What must hold is in `tests/signals/survives.rs`: no panic, no sum that overflows, nothing used beyond its bounds, 1 GiB of\n'
  printf 'memory and 10 s for one input. Whatever is found is kept as a test of its own.\n\n'
  printf '| target | seconds | executions | edges covered | features | inputs kept | found |\n|---|---:|---:|---:|---:|---:|---|\n'
  printf '| readers | %s | %s | %s | %s | %s | %s |\n' "$most" "$executions" "$(figure 'cov:')" "$(figure 'ft:')" "$(figure 'corp:')" "$what"
} >docs/fuzz.log.md
cat docs/fuzz.log.md
exit "$outcome"
