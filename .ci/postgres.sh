#!/usr/bin/env bash
# A PostgreSQL of one's own for tests: on a free loopback port, with fsync on, gone with its directory.
#   .ci/postgres.sh start DIR   installs PostgreSQL where it is missing (Debian), starts a cluster in DIR, prints its URL
#   .ci/postgres.sh stop DIR    stops it; the directory stays
# Starting twice prints the same URL, and one that was stopped comes back at its own, where that is still free.
set -euo pipefail

usage() {
  echo "usage: $0 start|stop DIR" >&2
  exit 2
}

[ $# -eq 2 ] || usage
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)

# PostgreSQL refuses to run as root; its files then belong to the system user that the package makes.
as_owner() {
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && runuser -u postgres -- env LC_ALL=C.UTF-8 "$@")
  else
    (cd / && env LC_ALL=C.UTF-8 "$@")
  fi
}

find_programs() {
  local candidate
  for candidate in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr) "$(dirname "$(command -v pg_ctl || echo /none)")"; do
    if [ -x "$candidate/initdb" ] && [ -x "$candidate/pg_ctl" ]; then
      echo "$candidate"
      return
    fi
  done
}

install() {
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$0: PostgreSQL is missing (initdb, pg_ctl): install it, then try again" >&2
    exit 1
  fi
  # The package would otherwise start a cluster of its own.
  mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/no-main-cluster.conf
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql; } >&2
}

programs=$(find_programs)
case $action in
  start)
    [ -n "$programs" ] || { install && programs=$(find_programs); }
    [ -n "$programs" ] || { echo "$0: PostgreSQL was installed, but initdb and pg_ctl were not found" >&2; exit 1; }
    ;;
  stop)
    [ -n "$programs" ] && [ -f "$dir/data/PG_VERSION" ] || exit 0
    as_owner "$programs/pg_ctl" -D "$dir/data" status >/dev/null 2>&1 || exit 0
    as_owner "$programs/pg_ctl" -D "$dir/data" -m fast -w stop >&2
    exit 0
    ;;
  *) usage ;;
esac

if [ -f "$dir/url" ] && as_owner "$programs/pg_ctl" -D "$dir/data" status >/dev/null 2>&1; then
  cat "$dir/url"
  exit 0
fi

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
last_port=$(sed -n 's|.*@127\.0\.0\.1:\([0-9]*\)/.*|\1|p' "$dir/url" 2>/dev/null || true)
[ "$(id -u)" -ne 0 ] || chown postgres "$dir"
if [ ! -f "$dir/data/PG_VERSION" ]; then
  (umask 077 && printf '%s\n' "$password" >"$dir/password")
  [ "$(id -u)" -ne 0 ] || chown postgres "$dir/password"
  as_owner "$programs/initdb" -D "$dir/data" -U postgres -E UTF8 --locale=C.UTF-8 \
    -A scram-sha-256 --pwfile="$dir/password" >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
fi

for _ in 1 2 3 4 5 6 7 8; do
  port=${last_port:-$((20000 + (RANDOM * 32768 + RANDOM) % 30000))}
  last_port=
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
  if as_owner "$programs/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='' -c max_connections=300 -c fsync=on" \
    start >/dev/null 2>&1; then
    (umask 077 && printf 'postgres://postgres:%s@127.0.0.1:%s/postgres\n' "$(cat "$dir/password")" "$port" >"$dir/url")
    cat "$dir/url"
    exit 0
  fi
done
echo "$0: the cluster did not start; its log ends with:" >&2
tail -n 20 "$dir/server.log" >&2
exit 1
