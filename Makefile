# berth's developer targets. `make up` and `make test` are all that a new
# machine needs: everything they use is installed or built on the way.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED ?= 0

BERTH          := bin/berth
EXAMPLE        ?= guestbook
TEST_CLUSTER   ?= berth-test
# The examples' tests publish on a hundred ports from here, beside what `make up` has published.
TEST_PORTS     ?= 18100
LINT_VERSION   := v2.15.0
LINT           := bin/tools/golangci-lint-$(LINT_VERSION)
# What needs the engine and the cluster. Long cases in them (testneed.Long) run in turn, by SEED; make test-full
# runs them all, and the packages of LONG.
SMOKE          := ./infra/agent ./infra/kube ./infra/ingress ./infra/gateway ./infra/image ./infra/apply ./cmd/internal/cli ./devloop/devtest ./examples
LONG           := ./infra/cluster ./infra/offline
SEED           := $(or $(SEED),$(shell date +%Y%m%d%H))
LEFT_OUT       := $(CURDIR)/.berth/left-out
RACE           := ./cmd/internal/ui ./devloop ./infra/agent/wire ./infra/agent/proxy
LONG_RACE      := ./devloop/watch ./infra/agent/... ./infra/gateway ./infra/image/...
FUZZTIME       ?= 60s
PLATFORMS      := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
VERSION        ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)
LDFLAGS        := -s -w -X github.com/berth-dev/berth/cmd/internal/cli.version=$(VERSION)
# An engine that `make engine` started beside an unusable one is chosen for everything after it.
WITH_ENGINE    := set -a; if [ -f .berth/engine.env ]; then . ./.berth/engine.env; fi; set +a;
# Unit tests see neither engine nor cluster: what needs them is skipped by name, and runs in e2e.
WITHOUT_ENGINE := DOCKER_HOST=unix:///nonexistent/docker.sock KUBECONFIG=/nonexistent/kubeconfig

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# --- build ------------------------------------------------------------------

.PHONY: build agent
build: agent ## build bin/berth with its node agent
	@go build -ldflags '$(LDFLAGS)' -o $(BERTH) ./cmd/berth

agent: ## build the node agents that berth embeds
	@for arch in amd64 arm64; do \
	  GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o infra/agent/bin/berth-agent-linux-$$arch ./cmd/berth-agent; \
	done

# --- run --------------------------------------------------------------------

.PHONY: engine offline up down
engine: build ## make sure that a Docker Engine runs (installs one on Debian or Ubuntu as root)
	@$(BERTH) offline engine --output .berth/engine.env >/dev/null

offline: engine ## build the offline kit where no registry is reachable
	@$(WITH_ENGINE) $(BERTH) offline build --if-needed

up: offline ## bring up an example on a 3-node cluster and print its URLs (EXAMPLE=guestbook)
	@$(WITH_ENGINE) $(BERTH) -f examples/$(EXAMPLE)/compose.yaml up

down: build ## take the example down again
	@$(WITH_ENGINE) $(BERTH) -f examples/$(EXAMPLE)/compose.yaml down

# --- test -------------------------------------------------------------------

.PHONY: test test-full lint unit golden race cross test-cluster e2e fuzz fuzz-short bench release
test: lint unit race fuzz-short cross e2e ## everything CI runs
	@if [ "$(BERTH_TEST_LONG)" != all ]; then \
	  echo "left out of make test, run by make test-full: $(LONG), the race detector over $(LONG_RACE), a minute of each fuzz target in place of seconds, cluster creation against kind"; fi
	@if [ -z "$$(type -p chromium chromium-browser google-chrome google-chrome-stable)" ]; then \
	  echo "left out: TestPagesInABrowser, there is no Chromium (Debian and Ubuntu: apt-get install chromium)"; fi
	@if [ -s $(LEFT_OUT) ]; then echo "long cases that seed $(SEED) left out:"; sort $(LEFT_OUT) | sed 's/^/  /'; fi

test-full: export BERTH_TEST_LONG := all
test-full: test fuzz ## all of make test, and what takes longer
	@$(WITH_ENGINE) BERTH_REQUIRE=docker,cluster BERTH_TEST_CLUSTER=$(TEST_CLUSTER) go test -count=1 -timeout 60m -p 1 $(LONG)
	@CGO_ENABLED=1 $(WITHOUT_ENGINE) go test -race -short $(LONG_RACE)
	@$(WITH_ENGINE) BERTH_BENCH_CLUSTER=1 go test -timeout 30m -run '^$$' -bench Create -benchtime 3x ./infra/cluster

lint: $(LINT) ## golangci-lint and go vet
	@$(LINT) run ./...

unit: agent ## unit, golden and script tests; no engine needed
	@$(WITHOUT_ENGINE) go test ./...

golden: ## rewrite the expected files of golden and script tests; read the diff
	@UPDATE=1 $(WITHOUT_ENGINE) go test ./translate/... ./cmd/internal/cli/... ./devloop/... -run 'Golden|Script|Plan|Counts'

race: agent c-compiler ## the race detector over the packages where goroutines share most
	@CGO_ENABLED=1 $(WITHOUT_ENGINE) go test -race -short $(RACE)

.PHONY: c-compiler
c-compiler: # what the race detector is linked with
	@type -p "$$(go env CC)" >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && type -p apt-get >/dev/null; then apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev; \
	  else echo "the race detector needs a C compiler: install gcc, or set CC" >&2; exit 1; fi; }

cross: agent ## berth compiles for every platform it is released for
	@for p in $(PLATFORMS); do GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null ./cmd/berth && echo "ok $$p"; done

test-cluster: offline ## a new cluster for tests
	@$(WITH_ENGINE) $(BERTH) cluster delete $(TEST_CLUSTER) && \
	  $(BERTH) cluster create $(TEST_CLUSTER) --http-port 8480 --https-port 8443

e2e: test-cluster ## the tests that need the engine and the cluster; long cases by SEED
	@mkdir -p .berth && rm -f $(LEFT_OUT) && echo "seed of the long cases: $(SEED)"
	@$(WITH_ENGINE) BERTH_REQUIRE=docker,cluster BERTH_TEST_CLUSTER=$(TEST_CLUSTER) BERTH_BIN=$(abspath $(BERTH)) \
	  BERTH_TEST_SEED=$(SEED) BERTH_TEST_LEFT_OUT=$(LEFT_OUT) BERTH_TEST_PORTS=$(TEST_PORTS) \
	  go test -count=1 -timeout 45m -p 1 $(SMOKE)

fuzz: ## a minute of each fuzz target
	@go list -f '{{.Dir}}' ./... | while read -r dir; do \
	  { grep -ho '^func Fuzz[A-Za-z0-9]*' "$$dir"/*_test.go 2>/dev/null || true; } | sed 's/func //' | while read -r target; do \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir"; done; done

fuzz-short: ## a few seconds of each fuzz target, under a minute in all
	@$(MAKE) --no-print-directory fuzz FUZZTIME=5s

bench: ## every benchmark
	@$(WITH_ENGINE) go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-images
bench-images: test-cluster ## berth load against kind load docker-image, as a table (ARGS=-quick; -stores own -sizes 220:8 -nodes 3)
	@$(WITH_ENGINE) go run ./infra/image/bench -cluster $(TEST_CLUSTER) $(ARGS)

.PHONY: bench-devloop soak
bench-devloop: test-cluster ## the time from a save until every replica serves it, as a table (ARGS='-edits 30 -paths sync -replicas 3')
	@$(WITH_ENGINE) go run ./devloop/bench -cluster $(TEST_CLUSTER) -berth $(abspath $(BERTH)) $(ARGS)

soak: test-cluster ## DURATION (1h) of random edits, branch switches and crashes on the vote example; every replica must equal the disk
	@$(WITH_ENGINE) go run ./devloop/bench -cluster $(TEST_CLUSTER) -berth $(abspath $(BERTH)) -soak $(or $(DURATION),1h) $(ARGS)

# --- release and cleaning ---------------------------------------------------

release: agent ## archives, checksums and completion files in dist/ (VERSION=v1.2.3)
	@rm -rf dist && mkdir -p dist/completion
	@for shell in bash zsh fish powershell; do go run ./cmd/berth completion $$shell > dist/completion/berth.$$shell; done
	@for p in $(PLATFORMS); do \
	  os=$${p%/*}; arch=$${p#*/}; name=berth_$(VERSION)_$${os}_$$arch; exe=berth; [ $$os = windows ] && exe=berth.exe; \
	  GOOS=$$os GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o dist/$$name/$$exe ./cmd/berth; \
	  cp -r LICENSE README.md dist/completion dist/$$name/; \
	  tar -C dist --sort=name --owner=0 --group=0 --mtime=@0 -czf dist/$$name.tar.gz $$name; rm -rf dist/$$name; \
	done
	@cd dist && sha256sum *.tar.gz > checksums.txt && cat checksums.txt

.PHONY: clean
clean: ## remove what was built here; engine, clusters and caches stay
	@rm -rf bin dist infra/agent/bin/berth-agent-linux-*

$(LINT):
	@mkdir -p $(@D)
	@GOBIN=$(abspath $(@D)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) && mv $(@D)/golangci-lint $@
