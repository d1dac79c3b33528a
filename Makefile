# berth's developer targets. `make up` and `make test` are all that a new
# machine needs: everything they use is installed or built on the way.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED ?= 0

BERTH          := bin/berth
EXAMPLE        ?= guestbook
TEST_CLUSTER   ?= berth-test
LINT_VERSION   := v2.15.0
LINT           := bin/tools/golangci-lint-$(LINT_VERSION)
PLATFORMS      := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
VERSION        ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)
LDFLAGS        := -s -w -X github.com/berth-dev/berth/cmd/internal/cli.version=$(VERSION)
# An engine that `make engine` started beside an unusable one is chosen for everything below.
-include .berth/engine.env

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# --- build ------------------------------------------------------------------

.PHONY: build agent
build: agent ## build bin/berth with its node agent
	@go build -trimpath -ldflags '$(LDFLAGS)' -o $(BERTH) ./cmd/berth

agent: ## build the node agents that berth embeds
	@for arch in amd64 arm64; do \
	  GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o infra/agent/bin/berth-agent-linux-$$arch ./cmd/berth-agent; \
	done

# --- run --------------------------------------------------------------------

.PHONY: engine offline up down
engine: build ## make sure that a Docker Engine runs (installs one on Debian or Ubuntu as root)
	@$(BERTH) offline engine --output .berth/engine.env >/dev/null

offline: engine ## build the offline kit where no registry is reachable
	@$(BERTH) offline build --if-needed

up: offline ## bring up an example on a 3-node cluster and print its URLs (EXAMPLE=guestbook)
	@$(BERTH) --project-directory examples/$(EXAMPLE) -f examples/$(EXAMPLE)/compose.yaml up

down: build ## take the example down again
	@$(BERTH) --project-directory examples/$(EXAMPLE) -f examples/$(EXAMPLE)/compose.yaml down

# --- test -------------------------------------------------------------------

.PHONY: test test-full lint unit golden race cross test-cluster e2e bench fuzz
test: lint unit race cross e2e ## everything CI runs

lint: $(LINT) ## golangci-lint and go vet
	@$(LINT) run ./...

unit: agent ## unit, golden and script tests; no engine needed
	@go test ./...

golden: ## rewrite the expected files of golden and script tests; read the diff
	@UPDATE=1 go test ./translate/... ./cmd/internal/cli/... ./devloop/... -run 'Golden|Script|Plan'

race: agent ## the race detector over the packages with goroutines
	@CGO_ENABLED=1 go test -race -short ./cmd/internal/ui/... ./devloop/... ./infra/agent/... ./infra/gateway/... ./infra/image/... ./infra/progress/...

cross: agent ## berth compiles for every platform it is released for
	@for p in $(PLATFORMS); do GOOS=$${p%/*} GOARCH=$${p#*/} go build -o /dev/null ./cmd/berth && echo "ok $$p"; done

test-cluster: offline ## a healthy cluster for tests
	@$(BERTH) cluster create --name $(TEST_CLUSTER) --http-port 8480 --https-port 8443 --recreate-unhealthy

e2e: test-cluster ## the tests that need the engine and the cluster; none may be skipped
	@BERTH_REQUIRE=docker,cluster BERTH_TEST_CLUSTER=$(TEST_CLUSTER) go test -timeout 45m -p 1 ./infra/... ./examples/... ./cmd/...

bench: ## every benchmark
	@go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-images
bench-images: test-cluster ## berth load against kind load docker-image, as a table (ARGS='-rounds 3 -sizes 220:8 -nodes 3')
	@go run ./infra/image/bench -cluster $(TEST_CLUSTER) $(ARGS)

# --- release and cleaning ---------------------------------------------------

.PHONY: clean
clean: ## remove what was built here; engine, clusters and caches stay
	@rm -rf bin dist infra/agent/bin/berth-agent-linux-*

$(LINT):
	@mkdir -p $(@D)
	@GOBIN=$(abspath $(@D)) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) && mv $(@D)/golangci-lint $@
