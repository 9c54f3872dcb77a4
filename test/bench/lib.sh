# shellcheck shell=bash
# Shared by test/bench/formats and test/bench/run, on top of test/lib.sh: a private server with
# this extension and floor.c in it, copies of its data directory to start from, and the check
# that a rollup is exact.

PORT=54330    # names the socket; there is no TCP

sql() {
    "$BIN/psql" -XqAt -P pager=off -v ON_ERROR_STOP=1 "$@"
}

# --- the server -----------------------------------------------------------------------

# install_and_build [PACKAGE...]: with wal2json and the output plugin that writes nothing
install_and_build() {
    local include
    # another server than the distribution's has its own wal2json
    if [ -n "${PG_CONFIG:-}" ]; then need_server "$@"
    else need_server "postgresql-$(distribution_major)-wal2json" "$@"; fi
    include=$("$PG_CONFIG" --includedir-server)
    make_work
    # shellcheck disable=SC2119 # no arguments of ours
    build
    # shellcheck disable=SC2119 # nor is its server a named one
    make_prefix
    [ -e "$("$PG_CONFIG" --pkglibdir)/wal2json.so" ] || die "this server has no wal2json"
    as_server_user gcc -O2 -Wall -Wextra -Wno-unused-parameter -shared -fPIC -I "$include" \
        -o "$("$PG_CONFIG" --pkglibdir)/floor.so" tree/test/bench/floor.c
}

# make_server: a new data directory, with further settings from standard input; the server that
# runs goes
make_server() {
    stop_server immediate
    as_server_user rm -rf data
    as_server_user "$BIN/initdb" -D data -U postgres -A trust -E UTF8 --no-locale --no-sync \
        >initdb.log 2>&1 || { cat initdb.log >&2; die "initdb failed"; }
    as_server_user tee -a data/postgresql.conf >/dev/null <<CONF
wal_level = logical
shared_preload_libraries = 'notify_stats'
listen_addresses = ''
unix_socket_directories = '$WORK'
port = $PORT
CONF
    as_server_user tee -a data/postgresql.conf >/dev/null
    # servers since August 2026 refuse plugins that this does not list; older ones, the line
    if as_server_user "$BIN/postgres" -D data -C output_plugin_libraries >/dev/null 2>&1; then
        as_server_user tee -a data/postgresql.conf >/dev/null \
            <<<"output_plugin_libraries = 'notify_stats, floor, pgoutput, wal2json'"
    fi
    # as root, too, this connects as the server's superuser
    export PGHOST=$WORK PGPORT=$PORT PGUSER=postgres PGDATABASE=postgres
}

# Settings under which nothing happens by itself, and the disk does not matter. There is no
# worker: the cycles are run by hand, and by one process unless a measurement says otherwise.
still_server_conf() {
    cat <<CONF
notify_stats.max_catch_up_workers = 1
autovacuum = off
checkpoint_timeout = 1d
max_wal_size = '64GB'
fsync = off
synchronous_commit = off
jit = off
shared_buffers = '256MB'
work_mem = '64MB'
CONF
}

start_server() {
    as_server_user "$BIN/pg_ctl" -D data -l server.log -w -s start </dev/null >/dev/null ||
        { tail -n 20 server.log >&2; die "the server does not start"; }
}

# stop_server MODE
stop_server() {
    [ ! -e data/postmaster.pid ] || as_server_user "$BIN/pg_ctl" -D data -w -s -m "$1" stop
}

# keep_as NAME: stops the server, and keeps its data directory
keep_as() {
    stop_server fast
    as_server_user rm -rf "$1"
    as_server_user mv data "$1"
}

# start_from NAME [SETTING]: a server with a copy of what was kept; the one that runs goes
start_from() {
    stop_server immediate
    as_server_user rm -rf data
    as_server_user cp -a --reflink=auto "$1" data
    as_server_user tee -a data/postgresql.conf >/dev/null <<<"${2:-}"
    start_server
}

# --- correctness ----------------------------------------------------------------------

# check_same WHAT QUERY QUERY: the two give the same rows
check_same() {
    local differences
    differences=$(sql -c "$2 EXCEPT ALL $3" -c "$3 EXCEPT ALL $2")
    [ -z "$differences" ] || die "$1 differs from its definition:
$(head -n 20 <<<"$differences")"
}

# check_rollup WHAT ROLLUP: it equals its definition
check_rollup() {
    check_same "$1: the rollup $2" "TABLE $2" "TABLE $2_definition"
}

# --- what a statement takes ------------------------------------------------------------

# footprint [OPTION...] STATEMENT...: lines "name figure"
footprint() {
    "$PYTHON" tree/test/bench/footprint.py "$@"
}

# figure NAME FILE: zero if it is not there
figure() {
    awk -v name="$1" '$1 == name {figure = $2} END {printf "%.6f", figure}' "$2"
}

# --- the frame ------------------------------------------------------------------------

print_machine() {
    printf '%s, %s cores, %s of RAM, Linux %s, load %s\n%s, wal2json %s\n' \
        "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
        "$(awk '/^MemTotal/ {printf "%.0f GB", $2 / 1048576}' /proc/meminfo)" "$(uname -r)" \
        "$(cut -d ' ' -f 1-3 /proc/loadavg)" \
        "$("$BIN/postgres" --version)" \
        "$(dpkg-query -W -f '${Version}' 'postgresql-*-wal2json' 2>/dev/null || echo '?')"
}

finish() {
    local status=$?
    trap - EXIT
    if [ -n "$WORK" ]; then
        [ "$status" -eq 0 ] || grep -sE 'PANIC|was terminated' "$WORK/server.log" >&2 || true
        stop_processes
        remove_work
    fi
    exit "$status"
}

finish_at_exit() {
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}
