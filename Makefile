EXTENSION = notify_stats
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" notify_stats.control)

MODULE_big = notify_stats
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = $(sort $(wildcard src/notify_stats--*.sql))
PGFILEDESC = "notify_stats - summary tables kept exact from the write-ahead log"
PG_CPPFLAGS = -DNOTIFY_STATS_VERSION='"$(EXTVERSION)"'

# "make installcheck", after "make install" and not as root, runs all tests on servers of
# its own. test/run does the same without installing anything.
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --temp-config=test/regress.conf --temp-instance=tmp_check/regress
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --temp-config=test/regress.conf --temp-instance=tmp_check/isolation --inputdir=test
TAP_TESTS = 1
PROVE_TESTS = $(sort $(wildcard test/t/*.pl))
# pg_regress makes its instance's directory, but not the one above it.
REGRESS_PREP = tmp_check
# The same output whatever the locale of the machine.
ENCODING = UTF8
NO_LOCALE = 1
EXTRA_CLEAN = tmp_check output_iso results regression.diffs regression.out

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/*.h)

.PHONY: tmp_check
tmp_check:
	$(MKDIR_P) $@

ifneq ($(filter-out 15 16 17 18,$(MAJORVERSION)),)
$(error notify_stats needs PostgreSQL 15 to 18, and $(PG_CONFIG) is of $(VERSION))
endif
