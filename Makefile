# What one does here, by name. `make` lists it; what each tool does, its own --help says.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
FUZZ_SECONDS ?= 3600

# The tools: every crate but the shared one.
TOOLS := $(filter-out common,$(notdir $(wildcard crates/*)))

# What the other targets run, and the Debian package that brings it; a word with slashes is a file. PostgreSQL comes by
# itself: scripts/postgres-for-tests.
TO_BUILD := cc:gcc ld:binutils /usr/include/stdio.h:libc6-dev /etc/ssl/certs/ca-certificates.crt:ca-certificates
TO_SHOW := $(TO_BUILD) flock:util-linux setpriv:util-linux useradd:passwd gzip:gzip python3:python3 fallocate:util-linux \
	/usr/share/zoneinfo/UTC:tzdata openssl:openssl
TO_MEASURE := $(TO_SHOW) pigz:pigz zstd:zstd logrotate:logrotate nginx:nginx-light curl:curl bc:bc file:file host:bind9-host \
	/usr/lib/nagios/plugins/check_http:monitoring-plugins-basic /usr/lib/nagios/plugins/check_ssl_cert:monitoring-plugins-contrib \
	/usr/lib/nagios/plugins/check_pgsql:monitoring-plugins-standard /lib/systemd/systemd:systemd
NEEDED := $(TO_SHOW) git:git unshare:util-linux mount:mount gpg:gpg age:age zstd:zstd bzip2:bzip2 xz:xz-utils strace:strace groff:groff-base \
	script:bsdutils nginx:nginx-light /usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream \
	dovecot:dovecot-imapd /usr/lib/dovecot/pop3:dovecot-pop3d \
	/usr/lib/python3/dist-packages/aiosmtpd:python3-aiosmtpd mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs logrotate:logrotate \
	/lib/systemd/systemd:systemd dbus-daemon:dbus-daemon /usr/lib/nagios/plugins/check_http:monitoring-plugins-basic

.DEFAULT_GOAL := help
.PHONY: help setup provision build test check demo campaign compare bench man install clean

help: ## List the targets
	@echo "make TARGET, where TARGET is"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## Install the Debian packages that the targets below need (with apt-get, as root or by sudo)
	@packages=; \
	for pair in $(NEEDED); do \
	    case $$pair in \
	    /*) [ -e "$${pair%%:*}" ];; \
	    *) PATH="$$PATH:/usr/sbin:/sbin" command -v "$${pair%%:*}" >/dev/null;; \
	    esac || packages="$$packages $${pair#*:}"; \
	done; \
	case " $(NEEDED) " in *" age:"*) python3 -m pip --version >/dev/null 2>&1 || packages="$$packages python3-pip";; esac; \
	packages=$$(echo $$packages | tr ' ' '\n' | sort -u | tr '\n' ' '); \
	if [ -z "$${packages% }" ]; then echo "setup: everything is there"; exit 0; fi; \
	install="env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$packages"; \
	echo "setup: will install with apt-get: $$packages"; \
	if ! command -v apt-get >/dev/null; then \
	    echo "setup: error: there is no apt-get; install the like of: $$packages" >&2; exit 1; \
	elif [ "$$(id -u)" = 0 ]; then \
	    apt-get update && $$install; \
	elif command -v sudo >/dev/null; then \
	    sudo apt-get update && sudo $$install; \
	else \
	    echo "setup: error: neither root nor sudo; as root, run: apt-get update && $$install" >&2; exit 1; \
	fi

provision: ## Fetch the PostgreSQL versions that the tests run against into a cache (`test` does it, too)
	@scripts/postgres-for-tests

build: ## Build the tools for use: target/release
	$(CARGO) build --release

test: ## Run all tests; as root, for those that change users or mount
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory provision
	$(CARGO) build --workspace --all-targets
	$(CARGO) test --workspace

check: ## Everything that must hold before a commit: format, lints, the demo, tests
	@$(MAKE) --no-print-directory setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(MAKE) --no-print-directory demo
	$(MAKE) --no-print-directory test

demo: ## Show the tools at work on a throw-away server
	@$(MAKE) --no-print-directory setup NEEDED="$(TO_SHOW)"
	@$(MAKE) --no-print-directory build
	@scripts/demo

campaign: provision ## Look for faults the long way: many kills, races and random inputs (hours; FUZZ_SECONDS)
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "campaign: error: there is no cargo-fuzz" >&2; \
	    echo "campaign: hint: run: cargo install cargo-fuzz (it needs a C++ compiler: apt-get install g++)" >&2; exit 1; }
	$(CARGO) build --workspace --all-targets
	$(CARGO) test --workspace -- --ignored campaign
	scripts/fuzz $(FUZZ_SECONDS)

compare: ## Run the logrotate files of Debian packages through logrotate and logrotate-lite (root; downloads, minutes)
	@$(MAKE) --no-print-directory setup NEEDED="logrotate:logrotate python3:python3 unshare:util-linux"
	@$(MAKE) --no-print-directory build
	@scripts/compare-logrotate

bench: ## Measure speed, size and memory beside the usual commands (half an hour; SCALE, ROUNDS)
	@$(MAKE) --no-print-directory setup NEEDED="$(TO_MEASURE)"
	@$(MAKE) --no-print-directory build
	@scripts/bench $(SCALE) $(ROUNDS)
	@scripts/bench-restore $(SCALE) $(ROUNDS)
	@scripts/bench-certcheck
	@scripts/bench-healthprobe
	@scripts/bench-logrotate

man: ## Render man pages and completions from the definitions of the options
	UPDATE=1 $(CARGO) test -p suite --test contract -- man:: completion::

install: ## Install what `make build` made: programs, man pages, completions (PREFIX, DESTDIR)
	@for tool in $(TOOLS); do \
	    [ -x "target/release/$$tool" ] || { echo "install: error: target/release/$$tool is missing; run: make build" >&2; exit 1; }; \
	done
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/bash-completion/completions"
	install -m 755 $(TOOLS:%=target/release/%) "$(DESTDIR)$(PREFIX)/bin"
	for page in man/*.[1-8]; do install -D -m 644 -t "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}" "$$page" || exit 1; done
	for tool in $(TOOLS); do \
	    install -m 644 "scripts/completion/$$tool.bash" "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$tool" || exit 1; \
	done

clean: ## Remove what was built here; the PostgreSQL cache stays (scripts/postgres-for-tests --cache-dir)
	$(CARGO) clean
