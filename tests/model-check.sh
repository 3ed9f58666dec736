#!/usr/bin/env bash
# The large models of the lease protocol, one after the other on one thread, so that their counts repeat; writes what they
# found to docs/model-check.log.md. Each may take ten minutes and 8 GiB; all of them together take some ten minutes.
# MODEL_TESTS names a test program that is built already, MODEL_SECONDS another limit for each.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=docs/model-check.log.md
if [ -z "${MODEL_TESTS:-}" ]; then
  cargo test --locked --test lease --no-run || exit 1
  MODEL_TESTS="cargo test --locked --quiet --test lease --"
fi
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
failed=0
for name in $($MODEL_TESTS --list --ignored 2>/dev/null | sed -n 's/^\(large::.*\): test$/\1/p'); do
  started=$SECONDS
  found=$(ulimit -v $((8 << 20)); MODEL_THREADS=1 timeout "${MODEL_SECONDS:-600}" $MODEL_TESTS --ignored --exact "$name" --nocapture 2>&1)
  outcome=$?
  seconds=$((SECONDS - started))
  # "NAME: N states, longest path D, safe", and for each rule that was taken away "NAME without RULE: N states, D steps: ..."
  sed -n -E 's/^(test [^ ]+ \.\.\. )?(.*): ([0-9]+) states, longest path ([0-9]+), safe$/| \2 | \3 | \4 | safe |/p
    s/^(test [^ ]+ \.\.\. )?(.*): ([0-9]+) states, ([0-9]+) steps: .*/| \2 | \3 | \4 | a path, as it must |/p' <<<"$found" >"$rows.new"
  [ "$outcome" = 0 ] || { printf '| %s | | | **not finished, or a path: exit %s** |\n' "$name" "$outcome" >>"$rows.new"; failed=1; }
  sed -e "1s/\$/ $seconds |/" -e '2,$s/$/ |/' "$rows.new" | tee -a "$rows"
  rm -f "$rows.new"
done
{
  printf '# The large models of the lease protocol\n\n'
  printf 'Written by `make model-check`: every state that any order of events leads to, searched on one thread. What the models\n'
  printf 'are, and which rules they search, is in [leases.md](leases.md). Seconds are those of one run on one core, rules taken away\n'
  printf 'included; counts repeat. Steps are those of the longest path that was followed, and of the shortest one to too many watts.\n\n'
  printf '| model | states | steps | outcome | seconds |\n|---|---:|---:|---|---:|\n'
  cat "$rows"
} >"$log"
exit "$failed"
