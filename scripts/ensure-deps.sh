#!/usr/bin/env bash
# Installs what the checks need beside Go. Does nothing where it is present.
set -euo pipefail

missing=()

# The race detector links with a C compiler.
if ! command -v "$(go env CC)" >/dev/null; then
	missing+=(gcc libc6-dev)
fi

# The tests of provider/postgres start a server of their own, unless they are
# given one. Debian keeps its programs out of the PATH.
has_postgres() {
	command -v initdb >/dev/null && command -v postgres >/dev/null ||
		compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}
if [ -z "${DURANGO_TEST_POSTGRES:-}" ] && ! has_postgres; then
	missing+=(postgresql)
fi
# They put a pooler in front of that server, and are skipped without it.
pooler=
if [ -z "${DURANGO_TEST_POSTGRES:-}" ] && ! PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null; then
	missing+=(pgbouncer)
	pooler=new
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
	root=(sudo)
fi
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
	"${root[@]}" apt-get update -q
fi
install() {
	echo "installing $*"
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}
if [ ${#missing[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		echo "please install: ${missing[*]}" >&2
		exit 1
	fi
	install "${missing[@]}"
fi
# The tests start their own: the package's service is not wanted.
if [ -n "$pooler" ] && [ -d /run/systemd/system ]; then
	"${root[@]}" systemctl disable --now -q pgbouncer
fi

# A test kills the primary of a pair that pg_auto_failover keeps, and is skipped
# without it. One package has the server's version in its name.
if [ -z "${DURANGO_TEST_POSTGRES:-}" ] && ! command -v pg_autoctl >/dev/null && command -v apt-cache >/dev/null; then
	mapfile -t failover < <(
		apt-cache search --names-only '^(pg-auto-failover-cli|postgresql-[0-9]+-auto-failover)$' | cut -d' ' -f1)
	if [ ${#failover[@]} -gt 0 ]; then
		install "${failover[@]}" || echo "without them: the test of a failover is skipped"
	fi
fi
