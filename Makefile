# vdist, built with PGXS. `make help` lists every target; PG_CONFIG=... chooses the PostgreSQL.

EXTENSION = vdist
MODULE_big = vdist
DATA = $(wildcard sql/*--*.sql)
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c))

PG_CPPFLAGS = -I$(CURDIR)/src -I$(libpq_srcdir)
# A compiler that fuses a * b + c where it likes would make two builds order rows differently.
PG_CFLAGS = -ffp-contract=off
SHLIB_LINK_INTERNAL = $(libpq)

# PostgreSQL loads modules with global symbols: without this, a function of another extension that
# was loaded earlier would be called in place of one of ours with the same name.
SHLIB_LINK = $(if $(filter linux,$(PORTNAME)),-Wl$(comma)-Bsymbolic)
comma = ,

# The distance kernels are dispatched at run time and gain nothing from JIT inlining.
override with_llvm = no

EXTRA_CLEAN = .build/unit .build/hold.so .build/pg_config

PG_CONFIG ?= pg_config
export PG_CONFIG

# `make` without a target means all, below PGXS or, where that is missing, the hint that stands for it.
.DEFAULT_GOAL := all

PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)
else
all install clean:
	@echo "$(PG_CONFIG) knows no PGXS: 'make packages' as root installs what is needed, or set PG_CONFIG" >&2; exit 1
endif

# A changed header rebuilds everything: the tree is small and a stale object is not worth the risk.
# So does another PostgreSQL.
$(OBJS): $(wildcard src/*.h src/*/*.h) .build/pg_config

.build/pg_config: FORCE
	@mkdir -p .build; $(PG_CONFIG) > $@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# One program a file, with what needs no PostgreSQL compiled in under the sanitizers.
UNIT_SRC = $(wildcard src/kernel/*.c src/quant/*.c) src/type/parse.c
UNIT_BIN = $(patsubst test/unit/%.c,.build/unit/%,$(wildcard test/unit/*.c))

.build/unit/%: test/unit/%.c $(UNIT_SRC) $(wildcard src/kernel/*.h src/quant/*.h test/unit/*.h) src/type/parse.h
	@mkdir -p .build/unit
	$(CC) -std=gnu99 -O1 -g -Wall -Wextra -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all \
		-Isrc -o $@ $< $(UNIT_SRC) -lm -lpthread

.build/hold.so: test/perl/hold.c .build/pg_config
	$(CC) $(CFLAGS) $(CPPFLAGS) -shared -o $@ $<

#: Building
#  all            build the extension (the default)
#  install        install it into the PostgreSQL of PG_CONFIG
#  clean          remove what was built
#  packages       install the Debian packages that building needs (as root; test sees to its own)

packages:
	@docker/local/packages

#  install-pgvector-shim    an extension "vector" for clients of pgvector, on top of an installed vdist
#                 (FORCE=1 replaces pgvector's own)
#  uninstall-pgvector-shim  remove it

install-pgvector-shim uninstall-pgvector-shim:
	@DESTDIR='$(DESTDIR)' FORCE='$(FORCE)' sql/pgvector/install $(@:%-pgvector-shim=%)

#: Trying
#  quickstart     a coordinator and four shards on this machine, with real text to search
#                 (QUERY="..." asks, CORPUS=file loads another text, one document a line)
#  quickstart-stop  stop them and remove their data

quickstart: packages
	@docker/local/quickstart

quickstart-stop:
	@docker/local/cluster remove

#: Testing (T="name ..." narrows check-regress, -isolation, -tap and -unit down)
#  test           everything below; installs the packages it needs
#  check-unit     C tests of what needs no PostgreSQL, under the sanitizers
#  check-regress  SQL tests, one server
#  check-isolation  sessions that meet each other, step by step
#  check-tap      tests with a coordinator and shards
#  check-asan     suites (SUITES="tap regress", T=...) on a server under the sanitizers, whose PostgreSQL
#                 it gets by apt and builds
#  check-clients  of check-tap, client libraries, which it installs by apt and npm
#  check-includes  the floors of the house: who may include whom
#  check-format   indentation and white space

test:
	@docker/local/packages test
	@test/clients/install
	@test/run

check-clients:
	@docker/local/packages test
	@test/clients/install
	@T=clients test/run tap

check-asan:
	@docker/local/packages test
	@T='$(T)' test/asan/run $(or $(SUITES),regress isolation tap)

test-programs: $(UNIT_BIN) .build/hold.so

check-unit check-regress check-isolation check-tap check-includes check-format:
	@T='$(T)' test/run $(@:check-%=%)

#: Keeping
#  format         indent every C file, after typedefs
#  typedefs       write typedefs.list, the type names in our C files, anew
#  help           this list

format: typedefs
	@test/indent --write

typedefs:
	@test/typedefs > typedefs.list.new && mv typedefs.list.new typedefs.list

help:
	@sed -n -e 's/^#: /\n/p' -e 's/^#  /  /p' Makefile

FORCE:

.PHONY: packages install-pgvector-shim uninstall-pgvector-shim quickstart quickstart-stop test \
	test-programs check-asan check-clients check-unit check-regress check-isolation \
	check-tap check-includes check-format format typedefs help FORCE
