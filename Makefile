# The words of this project. CI says the same ones.
#
#   make run      everything in one process on http://localhost:8080/
#   make test     unit and API tests of all crates
#   make check    formatting, lints, and what dependencies may be
#   make e2e      services, gateway and pages with real clients (needs Node, nginx and Chromium)
#   make clean

export CARGO_TARGET_DIR ?= target

CLIENT_DIR := web/vendor/node_modules/socket.io-client/dist
NPM_CI := npm ci --no-audit --no-fund --loglevel=error
SERVICES := -p standalone -p comet-svc -p chat-svc -p sse-svc

.PHONY: run test check fmt clippy deny client e2e build clean

run: client
	TRIDENT_CLIENT_DIR="$${TRIDENT_CLIENT_DIR:-$(CLIENT_DIR)}" cargo run --release --locked -p standalone

test:
	cargo test --workspace --locked

check: fmt clippy deny

fmt:
	cargo fmt --all -- --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

# Licences, duplicates and sources by deny.toml. Advisories need their database from the network: `cargo deny check`.
deny:
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny --offline --all-features check bans licenses sources; \
	else \
	  echo "cargo-deny is not here, so dependencies were NOT checked: cargo install --locked cargo-deny"; \
	fi

# The official Socket.IO client, as chat-svc serves it.
client: $(CLIENT_DIR)/socket.io.js

$(CLIENT_DIR)/socket.io.js: web/vendor/package-lock.json
	cd web/vendor && $(NPM_CI)
	touch $@

build:
	cargo build --locked $(SERVICES)

e2e: build client e2e/node_modules/.package-lock.json
	cd e2e && npm test

e2e/node_modules/.package-lock.json: e2e/package-lock.json
	cd e2e && $(NPM_CI)
	touch $@

clean:
	cargo clean
	rm -rf e2e/node_modules e2e/out web/vendor/node_modules
