# The commands of this project; CI uses the same ones. CONTRIBUTING.md says what each of them proves.
#
#   make run      everything in one process on http://localhost:8080/
#   make test     unit and API tests of all crates
#   make check    formatting, lints, and licences and sources of dependencies
#   make sim      seeds of the simulation of the log: SEEDS=0..500, or SEED=7 for the log of one; STREAMS=1 with streams: docs/FAULTS.md
#   make sim-defences  whether the simulation fails without each defence of the log: minutes, outside CI
#   make web      the client library in web/client, with its own tests, the playground and the admin page (needs Node)
#   make client   web/vendor/dist, the Socket.IO client that is part of the binaries, from npm's locked package (needs Node)
#   make e2e      services, gateway and pages with real clients (needs Node, nginx, Redis, Chromium and Python); `make -j2 e2e` runs two parts at a time
#   make e2e-examples  the examples: backends in all their languages (needs PHP, and Go for one), and a run in Chromium (part of e2e)
#   make e2e-docs  every command, link and setting in the documentation, and its wording (part of e2e); screenshot: the picture in README.md
#   make cases    the tests of docs/CASES.md, with a result for each case; cases-all: their exhaustive forms too (needs what e2e needs)
#   make e2e-compose  docker compose up with real containers: many replicas, some killed; and what the documentation says about it (needs Docker; not part of e2e)
#   make e2e-faults   replicas on one Redis, and one process on a disk, while processes are killed, stopped and disconnected, and the power is cut; accounts for every message (needs cc)
#   make e2e-hostile  attacks on everything, while good clients continue to read: docs/HOSTILE.md
#   make e2e-many     3,000 clients on three replicas of each service (release build)
#   make bench    what Trident costs, written into docs/PERFORMANCE.md; bench-growth: how that grows
#   make bench-peers  the same next to nchan, Bun, durable-streams, socketioxide and Node's socket.io (needs nginx and apt of Debian, and Node)
#   make bench-disk  a log on disk: its start, readers that catch up, and publishing with each TRIDENT_FSYNC (needs 5 GB of disk)
#   make bench-streams  Durable Streams next to durable-streams and @durable-streams/server
#   make soak     mixed load and faults for ten minutes: docs/SOAK.md (SOAK_SECONDS=90 for less)
#   make fuzz     ten minutes for each decoder (needs cargo-fuzz; FUZZ_SECONDS=60 for less)
#   make crates   the crate socketio with each of its features, with the oldest compiler, and its public items (part of supply)
#   make supply   licences and sources of npm packages, what would be published of the crates, and known vulnerabilities of all dependencies, as far as databases can be reached
#   make site     the documentation as pages in target/site, for any static file server (needs Node; part of e2e-docs)
#   make api      socketio/api.txt, the list of public items of the crate socketio
#   make openapi  docs/openapi.json, generated from the code
#   make dist     a release: archive, Debian package, images: docs/RELEASING.md
#   make clean

export CARGO_TARGET_DIR ?= target

NPM_CI := npm ci --no-audit --no-fund --loglevel=error
PYTHON := $(CARGO_TARGET_DIR)/e2e-python
FUZZ_TARGETS := engine_payload_v4 engine_payload_v3 socket_text socket_msgpack cursor query publish_body token redis_message http_request ws_command stream_request
FUZZ_SECONDS ?= 600
# With the allocator of the images (docs/decisions/0009-jemalloc.md), which needs make to build. Tests, examples and binaries are always built
# for the whole workspace: cargo gives dependencies the features of the selected packages, and would compile them again for another selection.
ALL := --workspace --features jemalloc --locked

.PHONY: run test check fmt clippy deny client web build e2e e2e-system e2e-socketio e2e-cluster e2e-client fuzz clean

run:
	cargo run --release --locked -p standalone --features jemalloc

# Most tests wait for most of their time, so more of them run at once than there are processors.
test: export RUST_TEST_THREADS ?= 4
test:
	cargo test $(ALL)

# Each seed is a run of the log, its readers and its disk, with faults. `make test` runs 500 of them.
SEEDS ?= 0..500
SEED ?=
STREAMS ?=
.PHONY: sim
sim:
	cargo build $(ALL) --bin sim
	"$(CARGO_TARGET_DIR)/debug/sim" $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(if $(STREAMS),--streams)

# Without any defence of the log, the simulation has to fail: it is built again, in target/defences. The table is in docs/FAULTS.md.
.PHONY: sim-defences
sim-defences:
	cargo test $(ALL) --test defences -- --ignored --nocapture

check: fmt clippy deny structure rules

# No import circle, no long file, no HTTP below the crate edge, no input or output in the protocols of the crate socketio.
.PHONY: structure
structure:
	.ci/structure
	python3 -B .ci/structure_test.py

# The alert rules can be read by Prometheus. That their metrics exist is a test of standalone.
.PHONY: rules
rules:
	@if command -v promtool >/dev/null; then promtool check rules ops/prometheus/*.rules.yml; \
	else echo "promtool is not here, so the alert rules were NOT checked: apt-get install prometheus"; fi

fmt:
	cargo fmt --all -- --check

clippy:
	cargo clippy $(ALL) --all-targets -- -D warnings

# Licences, duplicates and sources by deny.toml, including crates for other systems, which no build here fetches. Advisories need their
# database from the network: `make supply`.
deny:
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo fetch --locked --quiet && cargo deny --offline --all-features check bans licenses sources; \
	else \
	  echo "cargo-deny is not here, so dependencies were NOT checked: cargo install --locked cargo-deny"; \
	fi

.PHONY: supply packages crates
supply: packages crates

packages: web/client/node_modules/.package-lock.json
	node --test e2e/supply/*.test.js
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	cargo package --no-verify --allow-dirty --quiet -p shared
	cargo publish --dry-run --no-verify --allow-dirty --quiet -p socketio -p socketio-redis
	cd web/client && npm publish --dry-run --loglevel=error
	.ci/advisories

crates:
	.ci/crates

# The list of public items that .ci/crates compares with the code.
.PHONY: api
api:
	.ci/public-api --write

# The official Socket.IO client from npm, with its licence. It is part of the repository, so that `cargo build` needs no Node.
client: web/vendor/node_modules/.package-lock.json
	cp web/vendor/node_modules/socket.io-client/dist/* web/vendor/node_modules/socket.io-client/LICENSE web/vendor/dist/

# The client library: dist/, and the tests that need no server. The playground and the admin page: dist/, which is part of the repository.
web: web/client/dist/index.js web/playground/dist/index.html web/admin/dist/index.html
	cd web/client && npm test

web/client/dist/index.js: $(wildcard web/client/src/*.ts web/client/src/*/*.ts web/client/*.js*) web/client/node_modules/.package-lock.json
	cd web/client && npm run build

# The built pages and the Socket.IO client are part of the repository. Each must be what its sources or its package produce.
.PHONY: web-fresh
web-fresh: web web/vendor/node_modules/.package-lock.json
	@for page in playground admin; do \
	  (cd web/$$page && npx vite build --logLevel error --outDir "$(abspath $(CARGO_TARGET_DIR))/$$page" --emptyOutDir) && \
	  diff -r web/$$page/dist "$(CARGO_TARGET_DIR)/$$page" || { echo "web/$$page/dist is old: npm run build in web/$$page"; exit 1; }; \
	done
	diff -rq --exclude=LICENSE web/vendor/node_modules/socket.io-client/dist web/vendor/dist && \
	  cmp web/vendor/node_modules/socket.io-client/LICENSE web/vendor/dist/LICENSE || { echo "web/vendor/dist is old: make client"; exit 1; }

web/playground/dist/index.html: $(wildcard web/playground/src/* web/base.css web/page.js web/playground/*.js* web/playground/index.html) web/client/dist/index.js web/playground/node_modules/.package-lock.json
	cd web/playground && npm run build
	touch $@

web/admin/dist/index.html: $(wildcard web/admin/src/* web/base.css web/page.js web/admin/*.js* web/admin/index.html) web/client/dist/index.js web/admin/node_modules/.package-lock.json
	cd web/admin && npm run build
	touch $@

# A test compares the file with the code, and the services serve it.
.PHONY: openapi
openapi:
	WRITE_OPENAPI=1 cargo test $(ALL) --test openapi the_file_is_what_the_code_says

# All binaries and examples, debug. BUILT=1 says that they exist already, so that the target does not wait for cargo, which may be busy with
# another build.
build:
ifndef BUILT
	cargo build $(ALL) --bins --examples
endif

# A release: docs/RELEASING.md.
.PHONY: dist
dist:
	ops/package/dist

# Most parts wait for most of their time, and each has ports, files and processes of its own.
e2e: e2e-system e2e-socketio e2e-cluster e2e-streams e2e-client e2e-examples e2e-docs
	$(MAKE) e2e-rolling

# Services, gateway and pages from outside.
e2e-system: build e2e/node_modules/.package-lock.json
	cd e2e && npm test

# The gateway while replicas are exchanged, when nothing else runs: beside other tests, nginx may read a publication before it reads that the
# server has closed its idle connection, which the gateway cannot repeat.
.PHONY: e2e-rolling
e2e-rolling: build e2e/node_modules/.package-lock.json
	cd e2e && npm run --silent test:rolling

# Replicas of every service on one Redis, with faults: docs/FAULTS.md. Needs redis-server.
.PHONY: e2e-faults
e2e-faults: build e2e/node_modules/.package-lock.json
	cd e2e && npm run --silent test:faults

# Attacks on standalone and on the services behind nginx, with good clients at the same time: docs/HOSTILE.md.
.PHONY: e2e-hostile
e2e-hostile: build e2e/node_modules/.package-lock.json
	cd e2e && npm run --silent test:hostile

# 3,000 clients on three replicas of each service: docs/FAULTS.md. Release build, because it prints how long deliveries take.
.PHONY: e2e-many
e2e-many: e2e/node_modules/.package-lock.json
	cargo build --release --locked -p comet-svc -p chat-svc -p sse-svc --features jemalloc
	cd e2e && TRIDENT_E2E_PROFILE=release npm run --silent test:many

# Mixed load, reconnects and faults for SOAK_SECONDS. Nothing may be lost, and memory, descriptors and threads must be flat.
SOAK_SECONDS ?= 600
.PHONY: soak
soak: build e2e/node_modules/.package-lock.json
	cd e2e && rm -f out/soak.jsonl && SOAK_SECONDS=$(SOAK_SECONDS) npm run --silent test:soak; code=$$?; cd .. && \
	  "$(CARGO_TARGET_DIR)/debug/trident-bench" plot --title "A soak of $(SOAK_SECONDS) s" --into e2e/out/soak.svg e2e/out/soak.jsonl && \
	  echo "plot: e2e/out/soak.svg"; exit $$code

# The Socket.IO server with the official clients, in JavaScript and in Python.
e2e-socketio: build e2e/socketio/node_modules/.package-lock.json $(PYTHON)/ready
	cd e2e/socketio && npm test
	$(PYTHON)/bin/python -m unittest discover -s e2e/socketio/python

# Rust and Node servers in one cluster: the official Redis adapter and emitter.
e2e-cluster: build e2e/cluster/node_modules/.package-lock.json
	cd e2e/cluster && npm test

# The public conformance tests of Durable Streams, and the official clients, in JavaScript and in Python.
.PHONY: e2e-streams
e2e-streams: build e2e/streams/node_modules/.package-lock.json $(PYTHON)/ready
	cd e2e/streams && npm test
	$(PYTHON)/bin/python -m unittest discover -s e2e/streams/python

# The client library against real servers and a misbehaving proxy, in Node and in Chromium; the playground and the admin page.
e2e-client: build web-fresh e2e/node_modules/.package-lock.json
	cd e2e && npm run test:client

# examples/publish and examples/backend in all their languages, examples/adapters, and examples/run in Chromium. Needs PHP: Debian's php-cli. The example in Go is
# skipped without Go (golang-go).
.PHONY: e2e-examples
e2e-examples: build web/client/dist/index.js e2e/node_modules/.package-lock.json examples/backend/express-login/node_modules/.package-lock.json examples/run/node_modules/.package-lock.json examples/adapters/node_modules/.package-lock.json
	cd e2e && npm run --silent test:examples

# The documentation as a folder of pages, target/site, for any static file server.
.PHONY: site
site: web/site/node_modules/.package-lock.json
	cd web/site && npm test && node build.js "$(abspath $(CARGO_TARGET_DIR))/site"

# Every command, code block and link of README.md and docs/; the wording; the table of files in docs/ARCHITECTURE.md.
.PHONY: e2e-docs
e2e-docs: build site web/client/dist/index.js web/playground/dist/index.html e2e/node_modules/.package-lock.json
	cd e2e && npm run --silent test:docs

# Every regression case by its number: docs/CASES.md. CASES="4 9.3" picks groups and cases.
CASES ?=
.PHONY: cases cases-all
cases: build web e2e/node_modules/.package-lock.json e2e/socketio/node_modules/.package-lock.json $(PYTHON)/ready
	node e2e/cases/cases.js $(CASES)

cases-all: export TRIDENT_EXHAUSTIVE := 1
cases-all: cases

# The picture in README.md, taken by the tests of the playground.
.PHONY: screenshot
screenshot: build web-fresh e2e/node_modules/.package-lock.json
	cd e2e && TRIDENT_SCREENSHOTS=1 node --test --test-name-pattern="standalone" client/playground.test.js
	cp e2e/out/playground-standalone.png docs/playground.png

# The installation of docker-compose.yml, with the profile that builds fastest unless CARGO_PROFILE is set.
.PHONY: e2e-compose
e2e-compose: build e2e/node_modules/.package-lock.json
	@docker info >/dev/null 2>&1 || { echo "make e2e-compose needs a Docker engine, and none answers"; exit 1; }
	cd e2e && CARGO_PROFILE="$${CARGO_PROFILE:-trial}" npm run test:compose

# No script of a package runs here: the pages and examples link the client library, which npm would then build once more for each of
# them, while another target installs, builds or tests it.
%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && $(NPM_CI) --ignore-scripts
	touch $@

# Of those that only the benchmarks use, some unpack or build their binaries on installation: e2e/supply/lockfiles.test.js names them.
bench/peers/%/node_modules/.package-lock.json: bench/peers/%/package-lock.json
	cd bench/peers/$* && $(NPM_CI)
	touch $@

$(PYTHON)/ready: e2e/socketio/python/requirements.txt e2e/streams/python/requirements.txt e2e/streams/python/sdist.txt
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(filter %requirements.txt,$^))
	$(PYTHON)/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary durable-streams -d $(PYTHON)/sdist -r e2e/streams/python/sdist.txt
	touch $@

# New inputs are stored in fuzz/corpus, which is not part of the repository; inputs that fail in fuzz/artifacts.
fuzz:
	@for target in $(FUZZ_TARGETS); do \
	  mkdir -p fuzz/corpus/$$target && \
	  cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -dict=fuzz/socket_text.dict || exit 1; \
	done

clean:
	cargo clean
	rm -rf e2e/node_modules e2e/socketio/node_modules e2e/cluster/node_modules e2e/out web/vendor/node_modules web/site/node_modules web/client/node_modules web/client/dist web/playground/node_modules web/admin/node_modules

# Each of these targets measures, stores its runs as lines of JSON, and writes its tables and plots into docs/PERFORMANCE.md. All
# need two cores, one for the server and one for the load. On a busy machine the figures mean less. NOTE="…" is printed
# above the tables and describes the machine.
BENCH := "$(CARGO_TARGET_DIR)/release/trident-bench" --server "$(CARGO_TARGET_DIR)/release/standalone"
PEERS := $(CARGO_TARGET_DIR)/peers

.PHONY: bench bench-build bench-peers bench-streams bench-growth bench-disk
bench-build:
	cargo build --release --locked -p standalone -p bench --features jemalloc

# Trident alone, with the bare limit beside it, and on a Redis (needs redis-server). About ten minutes.
bench: bench-build
	$(BENCH) suite > "$(CARGO_TARGET_DIR)/bench.jsonl"
	$(BENCH) write --section suite --note "$(NOTE)" "$(CARGO_TARGET_DIR)/bench.jsonl"

# Trident next to nchan, Bun, durable-streams, socketioxide and Socket.IO on Node and on Bun, interleaved. About 35 minutes.
bench-peers: bench-build bench/peers/node/node_modules/.package-lock.json bench/peers/bun/node_modules/.package-lock.json \
  $(PEERS)/nchan/ngx_nchan_module.so $(PEERS)/bin/durable-streams-server
	cd bench/peers/socketioxide && CARGO_TARGET_DIR="$(abspath $(PEERS))" cargo build --release --locked
	$(BENCH) --socketioxide "$(PEERS)/release/peer-socketioxide" --nchan-module "$(PEERS)/nchan/ngx_nchan_module.so" \
	  --durable-streams "$(PEERS)/bin/durable-streams-server" peers \
	  > "$(CARGO_TARGET_DIR)/bench-peers.jsonl"
	$(BENCH) write --section peers --note "$(NOTE)" "$(CARGO_TARGET_DIR)/bench-peers.jsonl"

# Durable Streams of Trident next to the other servers of them. About fifteen minutes.
bench-streams: bench-build bench/peers/node/node_modules/.package-lock.json $(PEERS)/bin/durable-streams-server
	$(BENCH) --durable-streams "$(PEERS)/bin/durable-streams-server" peers --channels 1,100,10000 \
	  --of bare,streams,durable-streams,durable-streams-node,streams-file,durable-streams-wal > "$(CARGO_TARGET_DIR)/bench-streams.jsonl"
	$(BENCH) write --section streams --note "$(NOTE)" "$(CARGO_TARGET_DIR)/bench-streams.jsonl"

# The server of the crate durable-streams, as its users install it.
$(PEERS)/bin/durable-streams-server:
	cargo install --locked --quiet --root "$(abspath $(PEERS))" --version 0.1.5 durable-streams

# How costs grow, up to 19,000 readers (`ulimit -n` 20000). About ten minutes.
bench-growth: bench-build
	$(BENCH) growth > "$(CARGO_TARGET_DIR)/bench-growth.jsonl"
	$(BENCH) write --section growth --note "$(NOTE)" "$(CARGO_TARGET_DIR)/bench-growth.jsonl"

# A log on disk, in DISK (a directory on the disk to measure): a start with 1 GiB, 50 readers that catch up in 2 GiB, and publishing with each
# TRIDENT_FSYNC. Needs 5 GB of space. About seven minutes.
DISK ?= $(CARGO_TARGET_DIR)
bench-disk: bench-build
	$(BENCH) disk --directory "$(DISK)" > "$(CARGO_TARGET_DIR)/bench-disk.jsonl"
	$(BENCH) write --section disk --note "$(NOTE)" "$(CARGO_TARGET_DIR)/bench-disk.jsonl"

# Debian's package of nchan, unpacked here and not installed. nginx itself must be installed, in the version for which the package was built.
$(PEERS)/nchan/ngx_nchan_module.so:
	@command -v nginx >/dev/null || { echo "make bench-peers needs nginx"; exit 1; }
	mkdir -p "$(PEERS)/nchan"
	cd "$(PEERS)/nchan" && apt-get download libnginx-mod-nchan && dpkg-deb -x libnginx-mod-nchan_*.deb unpacked
	cp "$(PEERS)/nchan/unpacked/usr/lib/nginx/modules/ngx_nchan_module.so" $@
