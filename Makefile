# memc's chores. `make demo` and `make test` install what they need beside Go:
# LLVM's llc with apt, the rest below .tools.

GO            ?= go
BIN           := bin/memc
TOOLS         := $(CURDIR)/.tools
STATICVERSION := v0.8.2
STATICCHECK   := $(TOOLS)/staticcheck-$(STATICVERSION)/staticcheck
GOVULNVERSION := v1.8.0
GOVULNCHECK   := $(TOOLS)/govulncheck-$(GOVULNVERSION)/govulncheck
TESTSVERSION  := v1.13.0
GOTESTSUM     := $(TOOLS)/gotestsum-$(TESTSVERSION)/gotestsum
PTXAS         := nvidia-cuda-nvcc==13.5.37
CUDA          := $(TOOLS)/cuda/nvidia/cu13/bin
LLAMA         := llama-cpp-python==0.3.36
TESTTIMEOUT   ?= 20m
FUZZTIME      ?= 5000x
PEERS         := $(TOOLS)/peers
BENCH         ?=
SUDO          := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DIRS          := $(GO) list -f '{{.Dir}}' ./...

# memc itself is pure Go.
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help build demo test check fuzz bench bench-models bench-docs bench-gpu bench-gpu-peers bench-peers ptx-docs tune-docs lines vuln clean go llvm ptxas

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: go ## bin/memc
	$(GO) build -o $(BIN) ./cmd/memc

demo: llvm build ## compile a model, stream a million tokens through it, get a key back
	$(BIN) compile specs/allmem.spec --config models/passkey-allmem/config.json -o bin/passkey-allmem.memc
	@echo
	@echo "A stream of 1,048,576 tokens with a key of 20 bits near its start; the model must repeat the key at the end:"
	$(BIN) eval passkey models/passkey-allmem --length 1048576 --depth 0.001 --seeds 1
	@echo
	@echo "A text that a small trained model of the same architecture has not seen, byte by byte: the bits that it needs for one:"
	$(BIN) run testdata/bytes --text testdata/bytes/text.txt

# The summary behind the tests has what failed and, with the reasons, what was skipped.
test: check $(GOTESTSUM) ## all that must hold: format, vet, staticcheck, tests, each fuzz target for a moment
	PATH="$(CUDA):$$PATH" $(GOTESTSUM) --format standard-quiet --raw-command -- $(GO) test -json -timeout $(TESTTIMEOUT) ./...
	@$(MAKE) --no-print-directory fuzz

check: go llvm ptxas $(STATICCHECK)
	@bad=$$(gofmt -l $$($(DIRS))); [ -z "$$bad" ] || { echo "gofmt would change:"; echo "$$bad"; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

fuzz: go ## each fuzz target for FUZZTIME (as 30s, or a number of inputs as 5000x)
	@$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ {n[++k] = $$1} /^ok/ {for (i = 1; i <= k; i++) print $$2, n[i]; k = 0}' | \
	while read -r pkg target; do \
		echo "fuzz $$pkg $$target"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 200x -parallel 2 -timeout 10m "$$pkg" || exit 1; \
	done

bench: llvm build ## times specs/bench beside peers and the machine's peak, and whole models, see bench/README.md; BENCH='-rounds 1 -only memory' for a part
	$(GO) run ./bench $(BENCH) bench/kernels.json bench/models.json

bench-models: llvm build ## times whole models at several positions: the curve
	$(GO) run ./bench $(BENCH) bench/models.json

bench-docs: llvm build ## times all of that and writes docs/performance.md
	$(GO) run ./bench $(BENCH) -write docs/performance.md bench/kernels.json bench/models.json

tune-docs: llvm build ## tunes specs/bench twice and times compiling, and writes both into docs/performance.md
	$(GO) run ./bench $(BENCH) -write docs/performance.md bench/tune.json

bench-gpu: build ## times memc on an NVIDIA GPU beside PyTorch on it and prints a table; says what it could not run
	PYTHONPATH="$(PEERS)/python-gpu:$$PYTHONPATH" python3 bench/gpu.py $(BENCH)

ptx-docs: build ptxas ## registers, spills and shared memory of PTX kernels, written into docs/performance.md
	PATH="$(CUDA):$$PATH" $(GO) run ./bench/ptx -write docs/performance.md bench/ptx.json

bench-gpu-peers: ## installs PyTorch with CUDA, the peer of make bench-gpu
	python3 -m pip install -q --upgrade --target $(PEERS)/python-gpu torch

bench-peers: ## installs the peers of make bench: oneDNN, OpenBLAS, ggml (of llama.cpp), PyTorch
	$(SUDO) apt-get update -q && $(SUDO) apt-get install -yq --no-install-recommends cmake g++ libdnnl-dev libopenblas-dev make python3-pip
	mkdir -p $(PEERS)/bin $(PEERS)/ggml
	g++ -O2 -std=c++17 -o $(PEERS)/bin/openblas bench/peers/openblas.cpp -lopenblas
	g++ -O2 -std=c++17 -o $(PEERS)/bin/onednn bench/peers/onednn.cpp -ldnnl
	cd $(PEERS)/ggml && python3 -m pip download -q --no-deps --no-binary llama-cpp-python $(LLAMA) && tar xzf llama_cpp_python-*.tar.gz --strip-components 1
	cmake -S bench/peers -B $(PEERS)/ggml/build -DGGML=$(PEERS)/ggml/vendor/llama.cpp/ggml && cmake --build $(PEERS)/ggml/build --parallel
	cp $(PEERS)/ggml/build/ggml-peer $(PEERS)/bin/ggml
	python3 -m pip install -q --upgrade --target $(PEERS)/python torch numpy --extra-index-url https://download.pytorch.org/whl/cpu

lines: ## lines of Go of each package, tests apart
	@$(GO) list -f '{{.Dir}} {{join .GoFiles " "}} | {{join .TestGoFiles " "}} {{join .XTestGoFiles " "}}' ./... | \
	while read -r dir rest; do \
		cd "$$dir"; code=$${rest%%|*}; tests=$${rest#*|}; \
		printf '%7d %7d  %s\n' "$$(cat /dev/null $$code | wc -l)" "$$(cat /dev/null $$tests | wc -l)" ".$${dir#$(CURDIR)}"; \
	done | awk 'BEGIN {print "  lines   tests  package"} {print; c += $$1; t += $$2} END {printf "%7d %7d  all\n", c, t}'

vuln: go ## known vulnerabilities in what memc calls; needs vuln.go.dev
	@[ -x $(GOVULNCHECK) ] || GOBIN=$(dir $(GOVULNCHECK)) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNVERSION) || \
	{ echo "vuln: govulncheck cannot be installed; nothing is checked"; exit 0; }; \
	out=$$($(GOVULNCHECK) ./... 2>&1); rc=$$?; echo "$$out"; \
	case "$$out" in *"fetching vulnerabilities"*) echo "vuln: the database cannot be reached; nothing is checked"; exit 0;; esac; exit $$rc

clean: ## remove what was built; the tools in .tools stay
	rm -rf bin
	$(GO) clean -testcache

go:
	@command -v $(GO) >/dev/null || { echo "memc is built with Go $$(awk '/^go /{print $$2}' go.mod) or newer: https://go.dev/dl"; exit 1; }
	@$(GO) list -m >/dev/null || { echo "this Go is $$($(GO) version); memc needs $$(awk '/^go /{print $$2}' go.mod) or newer: https://go.dev/dl"; exit 1; }

# LLVM's assembler under one of the names that memc looks for.
llvm:
	@for v in $$(seq 30 -1 14); do command -v llc-$$v >/dev/null && exit 0; done; command -v llc >/dev/null || \
	{ echo "llc is missing: installing LLVM"; $(SUDO) apt-get update -q && $(SUDO) apt-get install -yq --no-install-recommends llvm; }

# NVIDIA's assembler checks PTX text; it needs no GPU. Without it the tests that
# use it are skipped, which is an error where CI is set.
ptxas:
	@command -v ptxas >/dev/null || [ -x $(CUDA)/ptxas ] || { \
		python3 -m pip --version >/dev/null 2>&1 || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -yq --no-install-recommends python3-pip; }; \
		python3 -m pip install -q --no-deps --target $(TOOLS)/cuda $(PTXAS); \
	} || { echo "ptxas cannot be installed; tests of PTX text will be skipped"; [ -z "$$CI" ]; }

$(STATICCHECK): | go
	GOBIN=$(@D) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICVERSION)

$(GOTESTSUM): | go
	GOBIN=$(@D) $(GO) install gotest.tools/gotestsum@$(TESTSVERSION)
