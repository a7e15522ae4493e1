# The old spelling of the sum: everything on one line.
[ "$(echo 1 2 3 | "$1" sum)" = 6 ]
