[ "$(printf "3\n-1\n2\n" | "$1" range)" = "-1 3" ]
