# The only commands a newcomer needs. Each installs what it lacks on Debian (as root), or names it.

.DEFAULT_GOAL := help
.PHONY: help build demo demo-docker test torture bench bench-proxies bench-engines soak lint advisories setup clean

NEED := scripts/need.sh
BENCH := target/release/weir-bench

# Make `make bench` shorter or longer: make bench ROUNDS=3 SECONDS_EACH=4
ROUNDS ?= 5
SECONDS_EACH ?= 6
# Length of the soak: make soak MINUTES=10
MINUTES ?= 10

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1\t/' | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-15s %s\n' "$$name" "$$what"; done

build: ## release binaries: target/release/weir and target/release/weir-bench
	@$(NEED) cmake:cmake
	cargo build --release --workspace --bins

demo: build ## one and two replicas through the proxy, judged; report under results/
	$(BENCH) demo

demo-docker: build ## the same in containers, by the shipped Compose files; report under results/
	@$(NEED) strip:binutils
	@! docker info >/dev/null 2>&1 || scripts/base-image.sh || true
	$(BENCH) demo --topology docker

test: ## every test: unit, property, end to end (nginx beside weir, the dashboard in Chromium, containers)
	@$(NEED) cmake:cmake nginx:nginx wrk:wrk
	@command -v chromium >/dev/null || $(NEED) chromium:chromium || echo "without chromium the tests of the dashboard are skipped"
	@command -v promtool >/dev/null || $(NEED) promtool:prometheus || echo "without prometheus the tests of rules and dashboard queries are skipped"
	@scripts/base-image.sh || echo "without it the tests of containers are skipped"
	cargo build --workspace --bins
	cargo test --workspace

bench: bench-proxies bench-engines ## weir beside nginx and HAProxy, then the load engines beside wrk, hey, h2load, Locust

bench-proxies: build ## only the proxies: weir, nginx, HAProxy
	@$(NEED) nginx:nginx haproxy:haproxy wrk:wrk
	$(BENCH) versus --rounds $(ROUNDS) --seconds $(SECONDS_EACH) --json results/versus.json

bench-engines: build ## only the load generators: wire, session, wrk, hey, h2load, Locust
	@$(NEED) wrk:wrk hey:hey h2load:nghttp2-client
	@scripts/locust.sh >/dev/null || true
	$(BENCH) engines --rounds $(ROUNDS) --seconds $(SECONDS_EACH) --json results/engines.json

torture: build ## settings change 100 times a second for SECONDS_EACH*5 s under load; every answer is accounted for
	WEIR_PROGRAMS=$(CURDIR)/target/release WEIR_TORTURE_SECONDS=$$(( $(SECONDS_EACH) * 5 )) cargo test -p weir-tests --test e2e torture:: -- --nocapture

soak: build ## minutes of steady load on a server that does nothing: is the generator itself sound?
	$(BENCH) self-check --duration $(MINUTES)m --rate 2000/s --min-requests $$(( $(MINUTES) * 100000 )) --json results/soak.json

lint: ## rustfmt, clippy, rustdoc, all without warnings; scripts parse; licences and bans of deny.toml
	@$(NEED) cmake:cmake
	@scripts/components.sh
	@for script in scripts/*.sh; do sh -n "$$script" || exit 1; done; for script in .ci/run docker/*.sh docker/k8s/*.sh docker/systemd/weir-upgrade; do bash -n "$$script" || exit 1; done
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@scripts/dependencies.sh || [ $$? = 3 ]

advisories: ## vulnerable and unmaintained crates by the RustSec database, fetched from GitHub
	@scripts/dependencies.sh --advisories

setup: ## install everything that any of these commands needs
	@$(NEED) cmake:cmake nginx:nginx haproxy:haproxy wrk:wrk hey:hey h2load:nghttp2-client chromium:chromium promtool:prometheus
	@scripts/components.sh
	@scripts/locust.sh >/dev/null || true
	cargo fetch --locked

clean: ## remove what was built; results/ stays
	cargo clean
