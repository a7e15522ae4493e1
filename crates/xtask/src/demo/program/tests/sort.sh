[ "$(seq 30000 -1 1 | "$1" sort | head -n 1)" = 1 ]
