# Runs one command in a box: DIRECTORY MARK COMMAND... Two outputs: the first is the command's, both of its streams in
# one pipe, with this shell's process number before and the mark and the exit code behind; the second says
# what the exit code alone does not: `E` if the command could not be executed, the shell's own words if a signal
# ended it.
echo "$$"
trap : TERM INT HUP QUIT
cd "$1" || { echo "D" >&2; echo "$2 127"; echo "$2" >&2; exit 0; }
mark=$2
shift 2
(
    trap 'echo E >/proc/$$/fd/2' EXIT
    trap - TERM INT HUP QUIT
    exec "$@"
) 2>&1
code=$?
echo "$mark $code"
echo "$mark" >&2
