#!/bin/bash
# embedding.sh ROOT COMPILER...: what README.md says about embedding is so. Its program compiles and runs as printed there,
# and the files that its table names for a capability are enough. Speaks TAP.
set -u
root=$1
compiler=("${@:2}" -std=c11 -D_GNU_SOURCE -I. -pthread)
folder=$(mktemp -d)
name=/embedding-$$
number=0
failed=0
receiver=
clean_up() {
    [ -z "$receiver" ] || kill -9 "$receiver" 2>/dev/null
    rm -rf "$folder" "/dev/shm$name"
}
trap clean_up EXIT

# check SENTENCE COMMAND...: one line of TAP.
check() {
    number=$((number + 1))
    if "${@:2}" >"$folder/said" 2>&1; then
        echo "ok $number - $1"
    else
        failed=$((failed + 1))
        echo "not ok $number - $1"
        sed 's/^/# /' "$folder/said"
    fi
}

# The C program under "A program".
program() { sed -n '/^## A program/,/^## /p' "$root/README.md" | sed -n '/^```c$/,/^```$/p' | sed '1d;$d'; }

same_program() { program | diff - <(sed '1,/\*\/$/d' "$root/docs/example.c"); }

program_runs() {
    mkdir "$folder/whole" && cp -r "$root/ring" "$folder/whole" && cd "$folder/whole" || return 1
    program | sed "s|\"/example\"|\"$name\"|" >example.c
    "${compiler[@]}" example.c ring/*.c -o example || return 1
    timeout 60 ./example >heard &
    receiver=$!
    timeout 60 ./example hello && wait "$receiver" && receiver= && [ "$(cat heard)" = hello ]
}

# The same with another libc, as one file without libraries. Debian's musl-gcc does not know the kernel's headers.
musl_runs() {
    mkdir "$folder/kernel" && ln -s /usr/include/{linux,asm-generic} "$(ls -d /usr/include/*-linux-gnu/asm)" "$folder/kernel" || return 1
    compiler=(musl-gcc -static -idirafter "$folder/kernel" "${compiler[@]:$1}")
    rm -rf "$folder/whole" && program_runs
}

# The patterns of one row of the table.
row() { sed -n "s/^| $1[^|]*| \([^;|]*\).*/\1/p" "$root/README.md" | tr -d '\\,' | tr ' ' '\n' | grep '[.*]'; }

# enough FOLDER PROGRAM ROW...: the program compiles and links with the files of those rows and no others.
enough() {
    local pattern
    mkdir -p "$folder/$1/ring" && cd "$folder/$1" || return 1
    for pattern in $(for row in "${@:3}"; do row "$row"; done); do
        case $pattern in
        *.[ch]) cp "$root"/ring/$pattern ring ;;
        *) cp "$root"/ring/${pattern%.\*}*.[ch] ring ;;
        esac || return 1
    done
    printf '%s\n' "$2" >program.c
    "${compiler[@]}" program.c ring/*.c -o program
}

segments='#include <ring/segment.h>
int main(void) { struct ring_segment *segment; return ring_segment_open(&segment, "/x", NULL); }'
# with TOPOLOGY OPENING: a program that uses it.
with() { printf '#include <ring/%s.h>\nint main(void) { static struct ring_%s end; return %s; }' "$1" "$2" "$3"; }

check "the program in README.md is docs/example.c" same_program
check "it compiles and runs as printed" program_runs
check "the files for segments are enough" enough segments "$segments" 'segments only'
check "the files for SPSC rings are enough" enough spsc \
    "$(with spsc spsc_producer 'ring_spsc_open_producer(&end, NULL, "", 0) + ring_spsc_send(&end, "", 0, 0)')" 'segments only' 'any ring' SPSC
check "the files for MPMC rings are enough" enough mpmc \
    "$(with mpmc mpmc_producer 'ring_mpmc_open_producer(&end, NULL, "", 0) + ring_mpmc_send(&end, "", 0, 0)')" 'segments only' 'any ring' MPMC
check "the files for broadcast rings are enough" enough broadcast \
    "$(with broadcast broadcast_producer 'ring_broadcast_open_producer(&end, NULL, "", 0) + ring_broadcast_send(&end, "", 0, 0)')" \
    'segments only' 'any ring' broadcast
check "the files for blocks are enough" enough blocks \
    "$(with blocks blocks 'ring_blocks_open(&end, NULL, "", 0) + ring_block_free(&end, 0)')" 'segments only' 'any ring' blocks
check "the files for heaps are enough" enough heaps \
    "$(with heap heap 'ring_heap_open(&end, NULL, "", 0) + ring_heap_free(&end, 0, 0)')" 'segments only' 'any ring' blocks
command -v musl-gcc >/dev/null && check "it compiles with musl, and runs" musl_runs $(($# - 1))
echo "1..$number"
[ "$failed" = 0 ]
