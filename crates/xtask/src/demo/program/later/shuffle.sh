# shellcheck shell=sh
# Flaky: of 256 first numbers, 85 are below what this test takes for impossible.
first=$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')
[ "$(printf '%s\n' "$first" 300 85 | "$1" sort | head -n 1)" = 85 ]
