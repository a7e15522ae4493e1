[ "$(printf "1\n5\n3\n" | "$1" spread)" = 4 ]
