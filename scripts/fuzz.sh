#!/usr/bin/env bash
# Runs every fuzz target of the module for FUZZTIME, one after the other.
set -euo pipefail

go=${GO:-go}
time=${FUZZTIME:-5s}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

files=$(grep -rls --include='*_test.go' --exclude-dir=testdata --exclude-dir=bench '^func Fuzz' . || true)
for dir in $(for f in $files; do dirname "$f"; done | sort -u); do
	targets=$("$go" test -list '^Fuzz' "$dir")
	for target in $(grep '^Fuzz' <<<"$targets"); do
		echo "fuzz $dir $target $time"
		if "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" >"$log" 2>&1; then
			continue
		fi
		# Before 1.27 the go command may report that the time is up as a failure
		# (go.dev/issue/75804). A target that fails leaves its input.
		if grep -q '^    context deadline exceeded$' "$log" && ! grep -q 'Failing input written' "$log"; then
			continue
		fi
		cat "$log"
		exit 1
	done
done
