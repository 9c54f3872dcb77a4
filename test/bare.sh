# shellcheck shell=bash
# A Debian with nothing installed, in which a script runs as root. It is made by debootstrap in
# .cache/bare15 or the like, packages are kept beside it, and scripts run in copies. Nothing of
# the system is changed, other than that debootstrap is installed if it is missing. Needs root,
# and a mirror of Debian. Sourced after lib.sh and chroot.sh.

MIRROR=

# major_of SUITE: prints the version of PostgreSQL in a release of Debian
major_of() {
    local major
    for major in 15 17 18; do
        if [ "$(suite_of "$major")" = "$1" ]; then
            echo "$major"
            return
        fi
    done
    die "no such release: $1"
}

# Sets MIRROR. If it cannot be reached, says so and ends: that is no failure.
need_mirror() {
    local suite=$1 release
    MIRROR=$(debian_mirror)
    MIRROR=${MIRROR:-http://deb.debian.org/debian}
    release=$(mktemp -u)
    if ! timeout 120 /usr/lib/apt/apt-helper download-file "${MIRROR%/}/dists/$suite/Release" "$release" \
        >/dev/null 2>&1; then
        echo "skipped: could not reach $MIRROR"
        exit 0
    fi
    rm -f "$release"
}

# need_bare_directory SUITE MAJOR: sets ROOT; it has another name until it is complete
need_bare_directory() {
    local suite=$1 lock
    ROOT=$SOURCE/.cache/bare$2
    mkdir -p "$ROOT-debs/partial"
    exec {lock}>"$ROOT.lock"
    flock "$lock"
    if [ ! -d "$ROOT" ]; then
        need_packages debootstrap debian-archive-keyring
        printf 'making %s: Debian %s\n' "${ROOT#"$SOURCE"/}" "$suite"
        UNFINISHED_ROOT=$ROOT.new
        rm -rf "$UNFINISHED_ROOT"
        isolated_here make_bare "$suite" "$UNFINISHED_ROOT" "$MIRROR" "$ROOT.log" || {
            tail -n 30 "$ROOT.log" >&2
            die "could not make a Debian $suite from $MIRROR"
        }
        mv "$UNFINISHED_ROOT" "$ROOT"
        UNFINISHED_ROOT=
    fi
    exec {lock}>&-
}

# isolated_here FUNCTION [ARGUMENT...]: runs a function of this file in separate namespaces
isolated_here() {
    isolated bash -euo pipefail -c "$(declare -f "$1"); \"\$@\"" "$0" "$@"
}

# make_bare SUITE DIRECTORY MIRROR LOG
make_bare() {
    exec </dev/null >"$4" 2>&1
    unset TMPDIR    # is not there, inside
    # shellcheck disable=SC2154
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    [ -z "${http_proxy:-}" ] || export http_proxy
    debootstrap --variant=minbase "$1" "$2" "$3" /usr/share/debootstrap/scripts/sid
    {
        # whether a mirror may be an old copy
        eval "$(apt-config shell check Acquire::Check-Valid-Until)"
        echo "Acquire::Check-Valid-Until \"${check:-true}\";"
        [ -z "${http_proxy:-}" ] || echo "Acquire::http::Proxy \"$http_proxy\";"
    } >"$2/etc/apt/apt.conf.d/90host"
    rm -rf "$2"/var/cache/apt/archives/*.deb
}

# enter_bare ROOT DEBS: runs /steps/run there
enter_bare() {
    local root=$1
    mount --bind "$root" "$root"
    mount --bind "$2" "$root/var/cache/apt/archives"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root" sh -e /steps/run </dev/null
}

# copy_bare DIRECTORY: makes a copy of ROOT to run in, with name resolution
copy_bare() {
    cp -a "$ROOT" "$1"
    cp /etc/resolv.conf "$1/etc/resolv.conf"
}
