# What people type. `make` alone says what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build console test fmt lint docs check-docs

CARGO ?= cargo
target := $(or $(CARGO_TARGET_DIR),target)
gateway := $(target)/debug/whatsapp-gateway
console := api/console
console_built := $(console)/dist/index.html
console_sources := $(shell find $(console)/src $(console)/public $(console)/scripts -type f) \
  $(addprefix $(console)/,index.html package-lock.json vite.config.ts)

help: ## says what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## builds the gateway, runs the main job end to end and leaves it serving (ARGS="--recipients 1000 --exit")
	exec $(gateway) demo $(ARGS)

build: console ## builds the gateway with its console
	$(CARGO) build --locked --bin whatsapp-gateway

console: $(console_built) ## builds the console, which the gateway then holds

$(console_built): $(console_sources)
	npm ci --prefix $(console) --no-audit --no-fund --loglevel=error
	npm run --prefix $(console) build

test: ## formatting, lints, docs and every test, with a PostgreSQL of its own
	.ci/test.sh

fmt: ## formats the code
	$(CARGO) fmt --all

lint: ## clippy with warnings denied
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

docs: ## writes the generated docs (docs/schema.graphql, docs/events.md, docs/schemas) anew
	UPDATE_DOCS=1 $(CARGO) test --locked --workspace docs_are_current

check-docs: ## checks that the generated docs are current and that rustdoc has no complaints
	$(CARGO) test --locked --workspace docs_are_current
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
