# make demo       a real agent, visibly at work (under a minute after the build)
# make test       what CI runs: reduced repetitions, and says so
# make test-full  every number as written
# make sim-large  the peer catalog's simulator with 10,000 nodes, and 1,000 sites among liars
#                 (release; 20 GB of memory; some two hours)
# make man        manual pages and completions into target/share
# make xpi        the Thunderbird extension: target/novacula.xpi
# make lint       formatting, clippy, licences and advisories (where cargo-deny is installed)

export CARGO_TERM_COLOR ?= auto
# Large pages: a fifth less time where tables take gigabytes.
LARGE := GLIBC_TUNABLES=glibc.malloc.hugetlb=1
CORPUS := $(wildcard ../shared/corpus/dev.tar.zst)

.PHONY: demo test test-full sim-large lint man xpi packages test-packages

demo: packages
	cargo build --locked -p novacula-agent
	contrib/demo target/debug/novacula

test: test-packages
	@echo "This is the reduced suite: fewer repetitions and seeds. All numbers as written: make test-full"
	@CORPUS="$(CORPUS)" contrib/test

test-full: test-packages
	@CORPUS="$(CORPUS)" NOVACULA_FULL=1 contrib/test

sim-large:
	cargo build --locked --release -p novacula-tests --bin sim
	$(LARGE) target/release/sim --sites 10000 --mails 300 --deadline 500 --after 5 flow
	$(LARGE) target/release/sim --sites 10000 --mails 300 crash
	$(LARGE) target/release/sim --sites 10000 --mails 300 churn
	target/release/sim --sites 1000 --mails 1000 crash
	target/release/sim --sites 1000 deceit
	target/release/sim --seed 71 --sites 1000 flood
	target/release/sim --seed 71 --sites 100 ride

lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed: licences and advisories not checked"; fi

man:
	cargo build --locked -p novacula-agent -p novacula-milter
	mkdir -p target/share/man/man1 target/share/completions
	target/debug/novacula man target/share/man/man1
	target/debug/novacula-milter man target/share/man/man1
	for program in novacula novacula-milter; do for shell in bash zsh fish; do \
	    target/debug/$$program completions $$shell > target/share/completions/$$program.$$shell; done; done

xpi:
	contrib/thunderbird/build target/novacula.xpi

packages:
	@contrib/install-packages

test-packages:
	@contrib/install-packages test
