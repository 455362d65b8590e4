# vdist: build with PGXS. `make help` lists every target.

EXTENSION = vdist
MODULE_big = vdist
DATA = $(wildcard sql/*--*.sql)
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c))

PG_CPPFLAGS = -I$(CURDIR)/src -I$(libpq_srcdir)
SHLIB_LINK_INTERNAL = $(libpq)

# The distance kernels are dispatched at run time and gain nothing from JIT inlining.
override with_llvm = no

REGRESS = $(patsubst sql/%.sql,%,$(filter-out $(wildcard sql/*--*.sql),$(wildcard sql/*.sql)))

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# A changed header rebuilds everything: the tree is small and a stale object is not worth the risk.
$(OBJS): $(wildcard src/*.h src/*/*.h)
