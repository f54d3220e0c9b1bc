#!/bin/bash
# examples.sh NAME PROGRAM...: the guides' programs do what they say. Speaks TAP. Their segments begin with NAME instead of
# /example, so that two test runs do not meet.
set -u
name=$1
declare -A program # by its name
for path in "${@:2}"; do
    program[${path##*/}]=$path
done
number=0
failed=0
said=$(mktemp)
receiver=
clean_up() {
    [ -z "$receiver" ] || kill -9 "$receiver" 2>/dev/null
    rm -f "$said" "$said.left-out" "$said.other" "/dev/shm$name" "/dev/shm$name"-*
}
trap clean_up EXIT

# check SENTENCE COMMAND...: one line of TAP.
check() {
    number=$((number + 1))
    if "${@:2}"; then
        echo "ok $number - $1"
    else
        failed=$((failed + 1))
        echo "not ok $number - $1"
        sed 's/^/# /' "$said"
    fi
}

# A receiver that comes first, or second.
one_word() {
    if [ "$1" = first ]; then
        timeout 60 "${program[example]}" >"$said" &
        receiver=$!
        timeout 60 "${program[example]}" hello >"$said.other" || return 1
    else
        timeout 60 "${program[example]}" hello >"$said.other" || return 1
        timeout 60 "${program[example]}" >"$said" &
        receiver=$!
    fi
    wait "$receiver" && receiver= && [ "$(cat "$said")" = hello ]
}

every_job_once() {
    timeout 60 "${program[example_mpmc]}" >"$said" 2>&1 || return 1
    [ "$(sed -n 's/.*: job \([0-9]*\), done by [0-9]*$/\1/p' "$said" | sort -n | tr '\n' ' ')" = "0 1 2 3 4 5 6 7 8 9 10 11 " ]
}

# Received and lost make up all that was sent, for each of the three.
every_loss_counted() {
    timeout 60 "${program[example_broadcast]}" >"$said" 2>&1 || return 1
    [ "$(awk '{ if ($2 + $4 == 1000) good[$1]++ } END { print good["consumer:"], good["observer:"] }' "$said")" = "2 1" ]
}

# ThreadSanitizer does not see into liburcu: tests/registry.h.
three_lives() {
    echo called_from_lib:liburcu-bp.so >"$said.left-out"
    TSAN_OPTIONS="${TSAN_OPTIONS:-}:suppressions=$said.left-out" \
        timeout 60 "${program[example_registry]}" >"$said" 2>&1 && [ "$(grep -c '^life [123]: 1000 messages$' "$said")" = 3 ]
}

# Each once, though a viewer is killed with one of them in its hands.
every_frame_once() {
    timeout 60 "${program[example_blocks]}" >"$said" 2>&1 || return 1
    [ "$(sed -n 's/^frame \([0-9]*\), seen by [0-9]*$/\1/p' "$said" | sort -n | tr '\n' ' ')" = "$(seq -s ' ' 0 39) " ]
}

# With one exception: a kernel without io_uring has no such loop either.
all_readings() {
    timeout 60 "${program[example_$1]}" >"$said" 2>&1 ||
        { [ "$1" = uring ] && grep -q 'no io_uring here' "$said"; return; }
    [ "$(sort "$said" | tr '\n' ';')" = "sensor inside: 20 readings, closed;sensor outside: 20 readings, died;" ]
}

check "example: a receiver that came first gets the word" one_word first
check "example: a receiver that came second gets the word" one_word second
check "example_mpmc: every job is done, although a worker is killed" every_job_once
check "example_broadcast: received and lost make up all that was sent" every_loss_counted
check "example_blocks: every frame is seen, although a viewer is killed" every_frame_once
[ -z "${program[example_registry]:-}" ] ||
    check "example_registry: senders go on while the receiver comes three times" three_lives
for loop in epoll libuv libevent uring; do
    [ -z "${program[example_$loop]:-}" ] ||
        check "example_$loop: all is received, and told who closed and who died" all_readings "$loop"
done
check "the examples leave nothing behind" [ -z "$(ls /dev/shm | grep -F -- "${name#/}")" ]
echo "1..$number"
[ "$failed" = 0 ]
