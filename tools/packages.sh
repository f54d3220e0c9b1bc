# shellcheck shell=bash
# packages.sh - sourced by run-demo and run-tests: installs the Debian packages that are missing, and no other.

# missing_packages PACKAGE...: those of them that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | cut -c1-2)" = ii ] || echo "$package"
    done
}

# install_missing PACKAGE...: false, after a sentence, when something is missing and cannot be had.
install_missing() {
    local missing become=() log
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "This is no Debian; wanted are: $*" >&2
        return 0 # perhaps they are there under other names: the build will tell
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Missing: ${missing[*]}. Run this as root: apt-get install --no-install-recommends ${missing[*]}" >&2
            return 1
        fi
        become=(sudo)
        [ -t 0 ] || become=(sudo -n)
    fi
    echo "Installing ${missing[*]} ..."
    log=$(mktemp)
    become+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
    if ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null; then
        "${become[@]}" update </dev/null || { echo "apt-get update failed; is there a network?" >&2; return 1; }
    fi
    if ! "${become[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >"$log" 2>&1; then
        # The lists may be old: once more with new ones.
        if ! "${become[@]}" update </dev/null ||
            ! "${become[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            rm -f "$log"
            echo "Cannot install: ${missing[*]}" >&2
            return 1
        fi
    fi
    rm -f "$log"
}

# shared_objects: one line for every object of shared memory and message queues on this machine.
shared_objects() {
    find /dev/shm /dev/mqueue -mindepth 1 ! -type d 2>/dev/null || true # no mqueue: not mounted here
    { tail -qn +2 /proc/sysvipc/{shm,msg,sem} 2>/dev/null || true; } | awk '{ print "System V", $1, $2 }'
}
