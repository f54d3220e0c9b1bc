# targets.sh - sourced by tests/fuzz/run and tests/coverage, which set $root: what the fuzz targets are built of.
# shellcheck shell=bash disable=SC2034,SC2054,SC2206

all_targets=(attach spsc-producer spsc-consumer mpmc-producer mpmc-consumer broadcast-producer broadcast-consumer
    broadcast-observer growth blocks heap handover bells segment-info segment-recoverer)

# kernel.c and uring.c stand in for these.
wraps=(-Wl,--wrap=syscall,--wrap=sysconf,--wrap=sched_getaffinity,--wrap=ring_segment_describe_self
    -Wl,--wrap=ring_memory_ask,--wrap=ring_watch_open,--wrap=ring_watch_close,--wrap=ring_watch_all)

# sources: the library's (the registry takes liburcu, and no target asks it for anything), and what targets share.
fuzz_sources() {
    local file
    sources=("$root"/tests/fuzz/{fuzz,kernel,uring}.c)
    for file in "$root"/ring/*.c; do
        case ${file##*/} in
        liveness.c | clock.c | registry*) ;;
        *) sources+=("$file") ;;
        esac
    done
}

# source, defines: of a target.
fuzz_target() { # TARGET
    local role=3 kind=${1%-*}
    case $1 in
    *-producer) role=1 ;;
    *-consumer) role=2 ;;
    *-observer) role=4 ;;
    *-recoverer) role=8 ;;
    esac
    case $kind in
    spsc | mpmc) source=$root/tests/fuzz/ring_of_bytes.c ;;
    broadcast) source=$root/tests/fuzz/news.c ;;
    *) source=$root/tests/fuzz/$kind.c ;;
    esac
    defines=(-DFUZZ_ROLE=$role -DFUZZ_KIND="$kind" -DFUZZ_IS_MPMC="$([ "$kind" = mpmc ] && echo 1 || echo 0)")
}
