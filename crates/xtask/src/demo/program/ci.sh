#!/bin/sh
# Builds tally and runs every test of it.
set -eu
cd "$(dirname "$0")"
mkdir -p build
cc -O1 -Wall -Werror -o build/tally src/*.c
failed=0
for test in tests/*.sh; do
    if sh "$test" build/tally; then
        echo "ok      $test"
    else
        echo "FAILED  $test"
        failed=1
    fi
done
exit $failed
