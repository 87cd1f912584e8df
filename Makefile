# The two commands of the README are `make demo` and `make test`. Everything else serves them.
# All targets need Linux, Rust and root (for namespaces, mounts and cgroups).

.PHONY: help build demo test check tests test-vm test-podman testdata bench install clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## Build the release binary: one static file
	cargo build --release -p mini-docker
	@echo "built: $$(bash .ci/target-dir)/release/mini-docker"

demo: ## A tour of a dozen containers, each with its proof
	bash demo/tour

test: ## Everything, as CI does: packages, format, lints, docs, all tests, pure cgroup v2
	bash .ci/test

check: ## Format, lints and docs only
	bash .ci/test check

tests: ## All tests on this machine, without the virtual machine
	bash .ci/test tests

test-vm: ## Limits under pure cgroup v2, in User-mode Linux
	bash tests/vm/run

test-podman: ## What the tests say of Docker's behaviour, asked of podman; what differs is told with its reason
	bash .ci/test podman

testdata: ## Root file systems that the tests need (debootstrap, Debian packages)
	bash tests/data/debian
	bash tests/data/services

bench: testdata ## What a start, a pull and a build cost: tables and pictures in benches/
	cargo build --release -p mini-docker
	cargo run --release -p benches --bin startup-table
	cargo run --release -p benches --bin pull-table
	cargo run --release -p benches --bin build-table

install: build ## Install mini-docker, its manual and its completion below /usr/local
	install -D -m 0755 "$$(bash .ci/target-dir)/release/mini-docker" $(DESTDIR)/usr/local/bin/mini-docker
	rm -f $(DESTDIR)/usr/local/share/man/man1/mini-docker.1 $(DESTDIR)/usr/local/share/man/man1/mini-docker-*.1
	$(DESTDIR)/usr/local/bin/mini-docker man $(DESTDIR)/usr/local/share/man/man1
	install -d $(DESTDIR)/usr/local/share/bash-completion/completions \
		$(DESTDIR)/usr/local/share/zsh/site-functions $(DESTDIR)/usr/local/share/fish/vendor_completions.d
	$(DESTDIR)/usr/local/bin/mini-docker completion bash > $(DESTDIR)/usr/local/share/bash-completion/completions/mini-docker
	$(DESTDIR)/usr/local/bin/mini-docker completion zsh > $(DESTDIR)/usr/local/share/zsh/site-functions/_mini-docker
	$(DESTDIR)/usr/local/bin/mini-docker completion fish > $(DESTDIR)/usr/local/share/fish/vendor_completions.d/mini-docker.fish

clean: ## Remove what was built
	cargo clean
