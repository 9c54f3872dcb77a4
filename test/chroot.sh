# shellcheck shell=bash
# Servers of other versions than the distribution's, for test/run. Each is in its own Debian
# (pg16: Ubuntu) in .cache/pg15 to pg19, which is made once. Afterwards, only packages for the
# server that a test names are added. The system is not changed, except that debootstrap is installed
# if it is missing. To get newer packages, remove the directory.

ROOT_PACKAGES=(gcc libc6-dev make perl libipc-run-perl)
ROOT=               # the directory in use
UNFINISHED_ROOT=    # a directory that is being made
UBUNTU=http://archive.ubuntu.com/ubuntu    # has PostgreSQL 16, for amd64
UBUNTU_KEYRING=pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb
UBUNTU_KEYRING_SHA256=36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8
UNAVAILABLE=4       # exit status of test/run if the directory could not be made

# suite_of MAJOR: prints the release of Debian, or Ubuntu, that the directory for this version is made of
suite_of() {
    case $1 in
        15) echo bookworm ;;
        16) echo noble ;;
        17) echo trixie ;;
        18) echo forky ;;
        19) echo sid ;;
        *) die "no release has PostgreSQL $1: choose 15 to 19" ;;
    esac
}

# server_suite_of MAJOR: prints the release that the server is taken from, if it is another one. That
# of release candidates has only what differs from sid, and not wal2json for them.
server_suite_of() {
    case $1 in
        19) echo experimental ;;
    esac
}

# old_major_of MAJOR: prints the version that is also installed, to upgrade from
old_major_of() {
    case $1 in
        18) echo 17 ;;
        19) echo 18 ;;
    esac
}

# server_packages MAJOR: prints the packages of the server
server_packages() {
    printf '%s\n' "postgresql-$1" "postgresql-server-dev-$1"
    [ -n "$(server_suite_of "$1")" ] || echo "postgresql-$1-wal2json"
}

# root_recipe MAJOR: prints the packages and releases that its directory is made of
root_recipe() {
    local old suite
    suite_of "$1"
    printf '%s\n' "${ROOT_PACKAGES[@]}"
    suite=$(server_suite_of "$1")
    [ -z "$suite" ] || echo "from $suite"
    server_packages "$1"
    old=$(old_major_of "$1")
    [ -z "$old" ] || printf '%s\n' "from $(suite_of "$old")" "postgresql-$old" "postgresql-server-dev-$old"
}

# need_root_directory MAJOR: sets ROOT to the directory, which is made if it is missing or was
# made of other packages
need_root_directory() {
    local lock
    ROOT=$SOURCE/.cache/pg$1
    mkdir -p "$SOURCE/.cache"
    exec {lock}>"$ROOT.lock"
    flock "$lock"
    root_is_made "$1" || make_root_directory "$1"
    exec {lock}>&-
}

root_is_made() {
    [ "$(cat "$ROOT/recipe" 2>/dev/null)" = "$(root_recipe "$1")" ]
}

# Makes the directory, under another name until it is complete.
make_root_directory() {
    local major=$1 suite mirror new=$ROOT.new
    suite=$(suite_of "$major")
    (need_packages debootstrap debian-archive-keyring) || exit "$UNAVAILABLE"
    mirror=$UBUNTU
    [ "$major" = 16 ] || mirror=$(debian_mirror)
    printf 'making %s: PostgreSQL %s, from %s\n' "${ROOT#"$SOURCE"/}" "$major" "$suite"
    rm -rf "$new"
    UNFINISHED_ROOT=$new
    isolated fill_root_directory "$major" "$new" "$mirror" "$ROOT.log" || {
        tail -n 30 "$ROOT.log" >&2
        printf 'could not make a %s with PostgreSQL %s from %s: see above, and %s.log\n' \
            "$suite" "$major" "${mirror:-the default mirror}" "${ROOT#"$SOURCE"/}" >&2
        exit "$UNAVAILABLE"
    }
    root_recipe "$major" >"$new/recipe"
    rm -rf "$ROOT"
    mv "$new" "$ROOT"
    UNFINISHED_ROOT=
}

# Called at exit.
remove_unfinished_root() {
    [ -z "$UNFINISHED_ROOT" ] || rm -rf "$UNFINISHED_ROOT"
}

# Prints the mirror of the distribution's own packages; nothing if the distribution is not Debian.
debian_mirror() {
    local try
    for try in 1 2; do
        # shellcheck disable=SC2016
        apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
            sed -n 's/^Debian Debian //p' | head -n 1 | grep . && return
        [ "$try" = 2 ] || apt-get -q update >/dev/null 2>&1 </dev/null || true
    done
    return 0
}

# --- in separate namespaces ----------------------------------------------------------

# isolated FUNCTION [ARGUMENT...]: runs a function of this file in separate namespaces, so
# that no process and no mount remains, however the function or this shell ends.
isolated() {
    local pid status=0
    setpriv --pdeathsig KILL \
        unshare --mount --propagation private --pid --mount-proc --ipc --fork --kill-child \
        bash -euo pipefail -c '. test/lib.sh; . test/chroot.sh; first_process "$@"' "$0" "$@" &
    pid=$!
    # shellcheck disable=SC2064
    trap "end_isolated $pid; exit 130" INT
    # shellcheck disable=SC2064
    trap "end_isolated $pid; exit 143" TERM
    # in the background, because only a wait can be interrupted
    wait "$pid" || status=$?
    trap 'exit 130' INT
    trap 'exit 143' TERM
    return "$status"
}

# end_isolated PID: terminates it, and kills it after 30 seconds
end_isolated() {
    local try
    # unshare itself does not handle the signal, but its child does
    # shellcheck disable=SC2046
    kill -TERM $(cat "/proc/$1/task/$1/children") 2>/dev/null || true
    for try in $(seq 300); do
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$1" 2>/dev/null || true
}

# first_process COMMAND...: is the first process of a namespace; when it ends, all others are
# killed
first_process() {
    local child status
    "$@" &
    child=$!
    trap 'kill -TERM "$child" 2>/dev/null || true' TERM
    while :; do
        status=0
        wait "$child" || status=$?
        # a signal ends the wait, but the child may still run
        kill -0 "$child" 2>/dev/null || return "$status"
    done
}

# fill_root_directory MAJOR DIRECTORY MIRROR LOG: installs Debian and the packages
fill_root_directory() {
    local major=$1 root=$2 mirror=$3 old suite packages
    exec </dev/null >"$4" 2>&1
    unset TMPDIR    # does not exist in that directory
    # the installation of the server must not make a cluster
    mkdir -p "$root/etc/postgresql-common/createcluster.d"
    echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.d/none.conf"
    suite=$(server_suite_of "$major")
    packages=$(printf '%s\n' "${ROOT_PACKAGES[@]}"; [ -n "$suite" ] || server_packages "$major")
    use_proxy
    if [ "$major" = 16 ]; then
        bootstrap_ubuntu "${packages//$'\n'/,}" "$(suite_of "$major")" "$root"
    else
        # the script of sid also works for releases that debootstrap does not know yet
        debootstrap --variant=minbase --include="${packages//$'\n'/,}" "$(suite_of "$major")" "$root" \
            ${mirror:+"$mirror" /usr/share/debootstrap/scripts/sid}
    fi
    old=$(old_major_of "$major")
    # libpq must be at least as new as the server
    # shellcheck disable=SC2046 # one word per package
    [ -z "$suite" ] || add_server "$suite" "$root" $(server_packages "$major") "libpq5/$suite" "libpq-dev/$suite"
    [ -z "$old" ] ||
        add_server "$(suite_of "$old")" "$root" "postgresql-$old" "postgresql-server-dev-$old"
    remove_downloads "$root"
}

# The proxy of the distribution's apt, if it has one.
use_proxy() {
    # shellcheck disable=SC2154
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    [ -z "${http_proxy:-}" ] || export http_proxy
}

remove_downloads() {
    rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
}

# bootstrap_ubuntu PACKAGES SUITE ROOT: Debian does not have Ubuntu's keys, so they are fetched and
# their sum is checked
bootstrap_ubuntu() {
    local keys=$3.keys
    /usr/lib/apt/apt-helper download-file "$UBUNTU/$UBUNTU_KEYRING" "$keys.deb" "SHA256:$UBUNTU_KEYRING_SHA256"
    dpkg-deb -x "$keys.deb" "$keys"
    debootstrap --variant=minbase --components=main,universe --include="$1" \
        --keyring="$keys/usr/share/keyrings/ubuntu-archive-keyring.gpg" "$2" "$3" \
        "$UBUNTU" /usr/share/debootstrap/scripts/gutsy
    rm -rf "$keys" "$keys.deb"
}

# add_server SUITE ROOT PACKAGE...: installs packages that this release has, and those of its
# libraries that are missing. Debian's servers can be installed side by side.
add_server() {
    local suite=$1 root=$2 mirror
    shift 2
    read -r _ mirror _ <"$root/etc/apt/sources.list"
    echo "deb $mirror $suite main" >"$root/etc/apt/sources.list.d/$suite.list"
    printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "$suite" >"$root/etc/apt/preferences.d/$suite"
    install_in_root "$root" "$@"
}

# install_in_root ROOT PACKAGE...: of the releases that this directory uses
install_in_root() {
    local root=$1 check
    shift
    # the same setting as outside: whether the mirror may be an outdated copy
    eval "$(apt-config shell check Acquire::Check-Valid-Until)"
    echo "Acquire::Check-Valid-Until \"${check:-true}\";" >"$root/etc/apt/apt.conf.d/90host"
    mount -t proc proc "$root/proc"
    export DEBIAN_FRONTEND=noninteractive
    chroot "$root" apt-get -q update
    chroot "$root" apt-get -q install -y --no-install-recommends "$@"
    umount "$root/proc"
}

# add_optional MAJOR [PACKAGE...]: adds those of these packages that are missing in the directory
# $ROOT, if possible. Others may be using it.
add_optional() {
    local major=$1 lock missing
    shift
    exec {lock}>"$ROOT.lock"
    flock "$lock"
    mapfile -t missing < <(missing_packages "$ROOT" "$@")
    if [ ${#missing[@]} -gt 0 ]; then
        printf 'installing %s in %s\n' "${missing[*]}" "${ROOT#"$SOURCE"/}"
        isolated fill_optional "$ROOT" "$ROOT.log" "${missing[@]}" ||
            printf 'NOT TESTED: %s, which could not be installed for PostgreSQL %s: see %s.log\n' \
                "${missing[*]}" "$major" "${ROOT#"$SOURCE"/}"
    fi
    exec {lock}>&-
}

# fill_optional ROOT LOG PACKAGE...
fill_optional() {
    local root=$1
    exec </dev/null >>"$2" 2>&1
    shift 2
    unset TMPDIR    # does not exist in that directory
    use_proxy
    install_in_root "$root" "$@"
    remove_downloads "$root"
}

# run_in_root MAJOR PACKAGES [ARGUMENT...]: runs test/run with these arguments on that version, if
# possible with these packages. It writes its counts to the file $COUNTS.
run_in_root() {
    local major=$1 packages=$2 old
    shift 2
    [ -n "$(suite_of "$major")" ] || exit 1    # suite_of has printed the reason
    is_root || die "--pg $major runs in a Debian of its own, which only root can make and enter"
    need_root_directory "$major"
    # shellcheck disable=SC2086 # one word per package
    add_optional "$major" $packages
    old=$(old_major_of "$major")
    unset NS_OLD_PG_CONFIG
    [ -z "$old" ] || export NS_OLD_PG_CONFIG=/usr/lib/postgresql/$old/bin/pg_config
    export NS_OUTER_TMPDIR=${TMPDIR:-/tmp}
    COUNTS=$(mktemp "$NS_OUTER_TMPDIR/notify_stats.XXXXXX")
    isolated enter_root_directory "$major" "${COUNTS##*/}" "$@" || true
    [ -s "$COUNTS" ] || die "the run on PostgreSQL $major did not end by itself"
}

# enter_root_directory MAJOR COUNTS [ARGUMENT...]: runs test/run in the directory of that version.
# Only /run and /tmp are writable there. /tmp is the caller's temporary directory, and contains the
# file COUNTS.
enter_root_directory() {
    local root=$SOURCE/.cache/pg$1 counts=/tmp/$2
    export PG_CONFIG=/usr/lib/postgresql/$1/bin/pg_config
    shift 2
    mount --bind "$root" "$root"
    mount --bind "$NS_OUTER_TMPDIR" "$root/tmp"
    mount --bind "$SOURCE" "$root/mnt"
    mount -o remount,bind,ro "$root/mnt"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -o remount,bind,ro "$root"
    export NS_COUNTS=$counts TMPDIR=/tmp
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    exec chroot "$root" /mnt/test/run "$@"
}
