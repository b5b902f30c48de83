#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, docs, and every test with a PostgreSQL of its own.
# Ends with the test runner's summary. TEST_DATABASE_URL, when set, is used instead of starting one.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d "${TMPDIR:-/tmp}/gateway-test.XXXXXX")
# PostgreSQL runs as a user of its own where the caller is root, and must reach its directory.
chmod 755 "$scratch"
finish() {
  local status=$?
  trap - EXIT
  if [ -d "$scratch/postgres" ]; then
    .ci/postgres.sh stop "$scratch/postgres" >/dev/null 2>&1 || echo "could not stop PostgreSQL in $scratch" >&2
  fi
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s\n' "$*" >&2; }

step "what the tests need"
tools=${CARGO_TARGET_DIR:-target}/tools
.ci/install.sh "$tools" >&2
PATH=$(cd "$tools/bin" && pwd):$PATH
TEST_CLIENTS=$(cd "$tools/clients" && pwd)
export PATH TEST_CLIENTS

step "formatting"
cargo fmt --all --check

step "spelling"
typos --config .typos.toml

step "dependencies"
cargo deny --locked check --hide-inclusion-graph bans licenses sources
# Advisories come from the network. Where there is none they are left out, and said to be.
if cargo deny fetch db >/dev/null 2>&1; then
  cargo deny --locked check advisories
else
  echo "left out: advisories, as their database could not be fetched"
fi

step "the console"
make console
npm run --prefix api/console check

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings

step "rustdoc"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

if [ -z "${TEST_DATABASE_URL:-}" ]; then
  step "starting PostgreSQL"
  TEST_DATABASE_URL=$(.ci/postgres.sh start "$scratch/postgres")
  export TEST_DATABASE_URL
fi

step "examples in the docs"
cargo test --locked --workspace --doc --quiet

step "benchmarks, whether they still work"
for bench in commands webhook reading rebuild restart exports subscribers; do
  cargo test --locked --workspace --bench "$bench" --quiet -- --smoke
done

step "tests"
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --locked --workspace --profile ci
else
  cargo test --locked --workspace --lib --bins --examples --tests --no-fail-fast
fi
