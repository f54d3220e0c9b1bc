#!/bin/sh
# headers.sh DIRECTORY COMPILER...: every header compiles alone, as C11 and as C++17, and no file includes a later level.
# A header says its level in its first line ("name.h - level N: ..."); a .c file has the level of its header.
# (A function that a header defines and does not use itself is no fault.)
set -u
directory=$1
shift
failures=0

fail()
{
    echo "$1" >&2
    failures=$((failures + 1))
}

level_of()
{
    sed -n "1s/^[^ ]* [a-z_]*\.[ch] - level \([0-9]*\).*/\1/p" "$1"
}

for header in "$directory"/*.h; do
    "$@" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -I"$directory/.." -fsyntax-only -x c "$header" ||
        fail "$header does not compile alone as C11"
    case $(sed -n 1p "$header") in *private*) continue ;; esac # only the public face is for C++
    if command -v c++ >/dev/null; then
        c++ -std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wold-style-cast -Werror -I"$directory/.." -fsyntax-only -x c++ "$header" ||
            fail "$header does not compile alone as C++17, or a C++ program's usual warnings find something in it"
    fi
done

for file in "$directory"/*.[ch]; do
    own=$(level_of "$file")
    [ -n "$own" ] || { fail "$file does not say its level in its first line"; continue; }
    for included in $(sed -n 's/^#include <ring\/\([a-z_]*\.h\)>.*/\1/p' "$file"); do
        other=$(level_of "$directory/$included")
        [ -n "$other" ] && [ "$other" -le "$own" ] ||
            fail "$file (level $own) includes $included (level ${other:-unknown})"
    done
done
[ "$failures" -eq 0 ]
