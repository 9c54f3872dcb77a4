# shellcheck shell=bash
# Shared by test/run and test/demo: installation of missing packages, a private copy of
# the checkout, and a private copy of the server that includes this extension. The system
# is not changed, except that missing packages are installed.
#
# PG_CONFIG can specify another server than the distribution's. Then its packages are not
# installed.

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
WORK=      # work directory, removed at exit
BIN=       # programs of the private server
TOOLS=(gcc libc6-dev make)

# Connection parameters of the caller must have no effect, and output must not vary.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE \
    PGSERVICEFILE PGOPTIONS PGDATA PGSSLMODE PGTZ PGDATESTYLE PGCLIENTENCODING PGAPPNAME \
    MAKEFLAGS MAKELEVEL
export LANG=C.UTF-8 LC_ALL=C.UTF-8
umask 022

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# thousands NUMBER: prints a number with commas
thousands() {
    sed -e :a -e 's/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/;ta' <<<"$1"
}

is_root() {
    [ "$(id -u)" = 0 ]
}

# The server refuses to run as root.
as_server_user() {
    if is_root; then runuser -u postgres -- "$@"; else "$@"; fi
}

# --- packages -------------------------------------------------------------------------

# Prints the major version of the distribution's PostgreSQL; Debian 12 has 15.
distribution_major() {
    # shellcheck source=/dev/null
    case $(. /etc/os-release 2>/dev/null && printf '%s %s' "${ID:-}" "${VERSION_CODENAME:-}") in
        'debian trixie') echo 17 ;;
        'debian forky') echo 18 ;;
        'ubuntu noble') echo 16 ;;
        *) echo 15 ;;
    esac
}

# need_server [PACKAGE...]: sets PG_CONFIG, and installs missing packages; "wal2json"
# stands for the package for the server's version
need_server() {
    local major
    if [ -n "${PG_CONFIG:-}" ]; then
        # its wal2json must be among its other libraries
        need_packages "${TOOLS[@]}" "${@/wal2json/}"
        PG_CONFIG=$(command -v "$PG_CONFIG") || die "PG_CONFIG names no program"
    else
        major=$(distribution_major)
        need_packages "postgresql-$major" "postgresql-server-dev-$major" "${TOOLS[@]}" \
            "${@/#wal2json/postgresql-$major-wal2json}"
        PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config
        [ -x "$PG_CONFIG" ] ||
            die "no $PG_CONFIG: set PG_CONFIG to the pg_config of PostgreSQL 15 to 19"
    fi
}

# need_packages PACKAGE...: on Debian, installs the packages that are missing
need_packages() {
    local missing
    command -v dpkg-query >/dev/null || return 0
    mapfile -t missing < <(missing_packages / "$@")
    [ ${#missing[@]} -gt 0 ] || return 0

    if ! is_root; then
        die "packages are missing. As root:
  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
    printf 'installing %s\n' "${missing[*]}"
    install_packages "${missing[@]}"
}

# missing_packages ROOT PACKAGE...: prints those that are not installed in the Debian of this directory
missing_packages() {
    local root=$1 package
    shift
    for package; do
        [ -n "$package" ] || continue
        [ "$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            echo "$package"
    done
}

# When a server is first installed, Debian creates and starts a cluster on port 5432. A
# file in createcluster.d, removed afterwards, prevents this. A policy, removed afterwards as
# well, prevents that other packages start their services, and these are not started at boot.
# The function runs in a subshell because of its trap.
install_packages() (
    dir=/etc/postgresql-common/createcluster.d
    snippet=$dir/notify_stats-install.conf
    made=
    [ -d "$dir" ] || made=$dir
    policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy" ] || policy=
    log=$(mktemp)
    trap 'rm -f "$snippet" "$log" ${policy:+"$policy"}; [ -z "$made" ] || rmdir "$made" 2>/dev/null || true' EXIT

    mkdir -p "$dir"
    echo "create_main_cluster = false" >"$snippet"
    if [ -n "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt="apt-get -q -o DPkg::Lock::Timeout=300"
    if ! { $apt update && $apt install -y --no-install-recommends "$@"; } \
        </dev/null >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "could not install $*"
    fi
    disable_services "$@"
)

# disable_services PACKAGE...: those of these packages, which were just installed, do not start at
# boot
disable_services() {
    local file
    dpkg-query -L "$@" | while read -r file; do
        case $file in
            /etc/init.d/?*) update-rc.d "${file##*/}" disable ;;
            /lib/systemd/system/*.service | /usr/lib/systemd/system/*.service)
                ! command -v systemctl >/dev/null || systemctl -q disable "${file##*/}" ;;
        esac
    done
}

# --- the work directory ---------------------------------------------------------------

# Makes a copy of the checkout that the server's user can read and write, in a directory
# of its own. That becomes the current directory, as the caller's may not be accessible to
# that user.
make_work() {
    WORK=$(mktemp -d "${TMPDIR:-/tmp}/notify_stats.XXXXXX")
    WORK=$(cd "$WORK" && pwd -P)
    copy_checkout "$WORK/tree"
    if is_root; then
        chown -R postgres: "$WORK"
        as_server_user test -r "$WORK/tree/Makefile" ||
            die "user postgres cannot reach $WORK: set TMPDIR to a directory that it can"
    fi
    cd "$WORK" || exit
    export HOME=$WORK
}

# copy_checkout DIRECTORY: without what was compiled in it
copy_checkout() {
    mkdir "$1"
    tar -C "$SOURCE" --exclude=./.git --exclude=./.cache --exclude=./tmp_check \
        --exclude='*.o' --exclude='*.so' --exclude='*.bc' -cf - . |
        tar -C "$1" --no-same-owner -xf -
}

remove_work() {
    cd / || exit
    rm -rf "$WORK"
}

# Ends all processes in the work directory; servers are ended immediately, without a
# checkpoint.
stop_processes() {
    local try pid pids
    [ -n "$WORK" ] || return 0
    for try in $(seq 100); do
        pids=$(processes_in_work)
        [ -n "$pids" ] || return 0
        for pid in $pids; do
            if [ "$try" = 100 ]; then
                kill -KILL "$pid"
            elif [ -e "/proc/$pid/cwd/postmaster.pid" ]; then
                kill -QUIT "$pid"
            else
                kill -TERM "$pid"
            fi
        done 2>/dev/null || true
        sleep 0.1
    done
}

processes_in_work() {
    local link pid
    for link in /proc/[0-9]*/cwd; do
        pid=${link//[^0-9]/}
        case $(readlink "$link" 2>/dev/null) in
            "$WORK" | "$WORK"/*) [ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || echo "$pid" ;;
        esac
    done
}

# --- build ----------------------------------------------------------------------------

# make_prefix [NAME]: installs the build in tree-NAME into prefix-NAME. A server finds its
# files relative to its own programs. So a copy of the programs, together with links to
# all other files, is a complete installation. "make install" adds this extension to it.
# $PG_CONFIG is set to the pg_config of that installation.
make_prefix() {
    local prefix=$WORK/prefix${1:+-$1} bin lib share include
    bin=$("$PG_CONFIG" --bindir)
    lib=$("$PG_CONFIG" --pkglibdir)
    share=$("$PG_CONFIG" --sharedir)
    include=$("$PG_CONFIG" --includedir-server)

    as_server_user mkdir -p "$prefix$bin" "$prefix$lib" "$prefix$share/extension" "$prefix${include%/*}"
    # programs are copied, because the server resolves links before it determines its location
    as_server_user cp -a "$bin/." "$prefix$bin/"
    link_all "$lib" "$prefix$lib"
    as_server_user ln -s "$include" "$prefix$include"
    link_all "$share" "$prefix$share"
    link_all "$share/extension" "$prefix$share/extension"
    # an installed copy of this extension must not be mistaken for the one under test
    find "$prefix" -name 'notify_stats*' -delete

    make_quietly -C "tree${1:+-$1}" with_llvm=no DESTDIR="$prefix" PG_CONFIG="$PG_CONFIG" install
    BIN=$prefix$bin
    PG_CONFIG=$BIN/pg_config
}

# link_all FROM TO: makes links to the files in FROM, except those that TO has already
link_all() {
    local entry
    for entry in "$1"/*; do
        [ -e "$2/${entry##*/}" ] || printf '%s\0' "$entry"
    done | as_server_user xargs -0 ln -s -t "$2"
}

# build [MAKE ARGUMENT...]: compiles, without bitcode, which would only be used for
# inlining by the JIT
build() {
    make_quietly -C tree -j "$(nproc)" with_llvm=no PG_CONFIG="$PG_CONFIG" "$@" all
}

make_quietly() {
    as_server_user make "$@" >build.log 2>&1 </dev/null || {
        grep -vE '^[^ ]*gcc ' build.log >&2
        die "make failed"
    }
}

# format_conf FORMAT: prints the settings by which new slots have this format
format_conf() {
    case $1 in
        notify_stats | pgoutput | wal2json) printf "notify_stats.format = '%s'\n" "$1" ;;
        wal2json1)
            printf "notify_stats.format = 'wal2json'\nnotify_stats.wal2json_format_version = 1\n"
            ;;
        *) die "no format is named $1" ;;
    esac
    # without a callback for streaming in the plugin, 18 fails to discard a larger transaction
    # that was rolled back; see plugin.c
    case $1:$("$PG_CONFIG" --version) in
        wal2json*' 18.'*) echo 'logical_decoding_work_mem = 64MB' ;;
    esac
    # minor versions before August 2026 do not have this setting, and would not start
    if as_server_user "$BIN/postgres" --describe-config | grep '^output_plugin_libraries' >/dev/null; then
        echo "output_plugin_libraries = 'pgoutput, test_decoding, wal2json'"
    fi
}

# --- GOV.UK Notify's load -------------------------------------------------------------

# load_options: prints the options of pgbench for the scripts in test/notify, one per
# line. The first line of a script contains its weight.
load_options() {
    local script weight
    for script in "$SOURCE"/test/notify/*.sql; do
        weight=$(sed -n '1s/^-- weight: //p' "$script")
        [ -z "$weight" ] || printf '%s\n' -f "$WORK/tree/test/notify/${script##*/}@$weight"
    done
    # timeout: seconds until a notification times out; retention: days until it is
    # archived
    printf '%s\n' -D timeout=10 -D retention=3 --no-vacuum
}
