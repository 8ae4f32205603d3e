#!/usr/bin/env bash
# Fails if go generate changes, adds or removes a file: what is checked in is
# stale. Works without git.
set -euo pipefail

if ! grep -rqs --include='*.go' --exclude-dir=testdata '^//go:generate ' .; then
	exit 0
fi

sums() {
	find . -type f -not -path './.git/*' -print0 | sort -z | xargs -0 sha256sum
}

before=$(mktemp)
trap 'rm -f "$before"' EXIT
sums >"$before"
go generate ./...
if ! sums | diff "$before" - >&2; then
	echo "generated files were stale; go generate ./... has renewed them" >&2
	exit 1
fi
