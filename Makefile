# What people type. `make` alone says what there is.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run build test fmt lint docs check-docs

CARGO ?= cargo
target := $(or $(CARGO_TARGET_DIR),target)
gateway := $(target)/debug/whatsapp-gateway

help: ## says what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## builds the gateway, runs the main job end to end and leaves it serving (ARGS="--recipients 1000 --exit")
	exec $(gateway) demo $(ARGS)

build: ## builds the gateway
	$(CARGO) build --locked --bin whatsapp-gateway

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
