[ "$(echo one two three | "$1" words)" = 3 ]
