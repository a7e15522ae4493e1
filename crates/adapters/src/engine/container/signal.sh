# Sends a signal to every process of a session: SIGNAL SESSION. Prints how many there were, dead ones aside.
count=0
for entry in /proc/[0-9]*; do
    line=
    while IFS= read -r part; do line=$line$part; done <"$entry/stat"
    # A program may have any name, brackets too; what counts is behind the last one.
    name=$1 session=$2
    set -- ${line##*) }
    if [ "${4:-}" = "$session" ] && [ "$1" != Z ] && [ "$1" != X ]; then
        kill -s "$name" "${entry#/proc/}" && count=$((count + 1))
    fi
    set -- "$name" "$session"
done 2>/dev/null
echo "$count"
