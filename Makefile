# The directory of this file, with a slash.  In a build out of tree it is not the current one.
# The names of files that are passed to the server's makefiles are relative to it.
TOP := $(dir $(lastword $(MAKEFILE_LIST)))
files = $(patsubst $(TOP)%,%,$(sort $(wildcard $(TOP)$(1))))

EXTENSION = notify_stats
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(TOP)notify_stats.control)

MODULE_big = notify_stats
OBJS = $(patsubst %.c,%.o,$(call files,src/*/*.c))
DATA = $(call files,src/notify_stats--*.sql)
DOCS = $(call files,doc/*.md)
PGFILEDESC = "notify_stats - results of summary queries kept up to date from the write-ahead log"
PG_CPPFLAGS = -DNOTIFY_STATS_VERSION='"$(EXTVERSION)"' $(addprefix -I,$(sort $(dir $(wildcard $(TOP)src/*/*.h))))

# "make installcheck", after "make install", runs a short test on a running server, which needs
# shared_preload_libraries = notify_stats and wal_level = logical. "make installcheck TESTS=all",
# not as root, runs all tests, on servers of its own. test/run does the same without installing
# anything.
ifeq ($(TESTS),all)
REGRESS = $(patsubst sql/%.sql,%,$(call files,sql/*.sql))
REGRESS_OPTS = --temp-config=$(TOP)test/regress.conf --temp-instance=tmp_check/regress
ISOLATION = $(patsubst test/specs/%.spec,%,$(call files,test/specs/*.spec))
ISOLATION_OPTS = --temp-config=$(TOP)test/regress.conf --temp-instance=tmp_check/isolation --inputdir=$(TOP)test
TAP_TESTS = 1
PROVE_TESTS = $(call files,test/t/*.pl)
# pg_regress creates the directory of its instance, but not the parent directory.
REGRESS_PREP = tmp_check
else
REGRESS = installed
endif
EXTRA_CLEAN = tmp_check output_iso results regression.diffs regression.out notify_stats-*.zip
# The output must not depend on the locale of the machine.
ENCODING = UTF8
NO_LOCALE = 1

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# a separate directory, as other extensions may have pages of these names
docmoduledir = notify_stats

# PGXS installs the pages without their directory, but uninstalls them with it
.PHONY: uninstall-pages
uninstall: uninstall-pages
uninstall-pages:
	rm -f $(addprefix '$(DESTDIR)$(docdir)/$(docmoduledir)'/, $(notdir $(DOCS)))
	-rmdir '$(DESTDIR)$(docdir)/$(docmoduledir)'

ifeq ($(OBJS),)
$(error no source files in $(TOP)src)
endif

# Exports only the functions that are marked PGDLLEXPORT, to avoid conflicts with the functions
# of other libraries.  Later servers do this by default.
ifeq ($(MAJORVERSION),15)
override CFLAGS += -fvisibility=hidden
override CPPFLAGS += -DPGDLLEXPORT='__attribute__((visibility("default")))'
endif

FOLDERS = $(addprefix $(CURDIR)/,$(sort $(dir $(OBJS))))
$(OBJS): $(wildcard $(TOP)src/*/*.h) | $(FOLDERS)
# absolute names, as VPATH would otherwise find the directories of the sources
$(FOLDERS):
	$(MKDIR_P) $@

# The archive for the PostgreSQL Extension Network, of the last commit.
DISTNAME = $(EXTENSION)-$(EXTVERSION).0
.PHONY: dist
dist:
	git -C $(TOP). archive --format=zip --prefix=$(DISTNAME)/ --output=$(CURDIR)/$(DISTNAME).zip HEAD

.PHONY: tmp_check
tmp_check:
	$(MKDIR_P) $@

ifneq ($(filter-out 15 16 17 18 19,$(MAJORVERSION)),)
$(error notify_stats needs PostgreSQL 15 to 19, and $(PG_CONFIG) is of $(VERSION))
endif
