[ "$(printf "1\n2\n6\n" | "$1" mean)" = 3 ]
