#!/bin/sh
# Private docker and podman daemons for the contract tests: own sockets, own data, under one folder.
#
#   engines.sh start[-docker|-podman] FOLDER
#                              starts what can be started, imports the test image into each; prints one line for each
#                              engine: `docker unix:///...` or `podman unavailable: the reason`
#   engines.sh rootfs FOLDER  makes the test image's root file system in FOLDER/rootfs, for an engine without a daemon
#   engines.sh stop FOLDER     stops all of it and removes the folder
#
# Both may be run twice. Nothing outside FOLDER is kept, and no daemon of the host is touched. Needs root, and docker.io,
# podman, runc and busybox-static as Debian has them; FOLDER must be short (a socket's path has at most 107 bytes).
set -eu

image=gantry-test:latest

# Runs a daemon in a network namespace of its own: its bridges and rules end with it, and nothing of the host's changes.
run_apart() { exec unshare --net sh -c '"$0" ip link set lo up; exec "$@"' "$busybox" "$@"; }

log() { echo "engines.sh: $*" >&2; }

# A root file system of busybox, and git with its libraries if the host has it.
make_rootfs() {
    root=$1
    mkdir -p "$root/bin" "$root/etc" "$root/root" "$root/proc" "$root/sys" "$root/dev" "$root/home" "$root/usr/bin" "$root/var"
    mkdir -p -m 1777 "$root/tmp" "$root/var/tmp"
    cp "$busybox" "$root/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
    git=$(command -v git || true)
    if [ -n "$git" ]; then
        cp -L "$git" "$root/usr/bin/git"
        ln -s git "$root/usr/bin/git-upload-pack"
        for library in $(ldd "$git" 2>/dev/null | grep -o '/[^ ]*'); do
            mkdir -p "$root$(dirname "$library")"
            cp -L "$library" "$root$library"
        done
    fi
}

# Whether something answers on a socket.
answers() { curl -sf --max-time 5 --unix-socket "$1" http://d/_ping >/dev/null 2>&1; }

wait_for() {
    tries=0
    until answers "$1"; do
        tries=$((tries + 1))
        if [ "$tries" -gt 150 ] || ! kill -0 "$2" 2>/dev/null; then
            return 1
        fi
        sleep 0.2
    done
}

import_rootfs() {
    curl -sf --max-time 120 --unix-socket "$1" "http://d/images/$image/json" >/dev/null 2>&1 && return 0
    curl -sf --max-time 120 --unix-socket "$1" -X POST -H 'Content-Type: application/x-tar' -H 'Expect:' \
        --data-binary "@$folder/rootfs.tar" "http://d/images/create?fromSrc=-&repo=${image%:*}&tag=${image#*:}" >/dev/null
}

start_docker() {
    home=$folder/docker
    socket=$home/docker.sock
    if ! answers "$socket"; then
        daemon=$(command -v dockerd) || { echo "docker unavailable: no dockerd; apt-get install docker.io"; return; }
        mkdir -p "$home"
        # Without CAP_SYS_RESOURCE the daemon's own default limits cannot be set.
        echo "{}" >"$home/daemon.json"
        run_apart "$daemon" --host "unix://$socket" --data-root "$home/data" --exec-root "$home/exec" \
            --pidfile "$home/daemon.pid" --config-file "$home/daemon.json" \
            --default-ulimit nofile=20000:20000 --default-ulimit nproc=20000:20000 \
            --cgroup-parent "gantry-test-$$" >"$home/daemon.log" 2>&1 </dev/null &
        if ! wait_for "$socket" "$!"; then
            echo "docker unavailable: $(grep -v level=info "$home/daemon.log" | tail -1)"
            return
        fi
    fi
    import_rootfs "$socket" && echo "docker unix://$socket" || echo "docker unavailable: cannot import the test image"
}

start_podman() {
    home=$folder/podman
    socket=$home/podman.sock
    if ! answers "$socket"; then
        daemon=$(command -v podman) || { echo "podman unavailable: no podman; apt-get install podman"; return; }
        mkdir -p "$home/tmp" "$home/networks"
        # runc, because crun refuses hybrid cgroups.
        cat >"$home/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
network_config_dir = "$home/networks"
CONF
        export CONTAINERS_CONF="$home/containers.conf"
        run_apart "$daemon" --root "$home/root" --runroot "$home/run" \
            --tmpdir "$home/tmp" --storage-driver overlay system service --time=0 "unix://$socket" \
            >"$home/daemon.log" 2>&1 </dev/null &
        echo "$!" >"$home/daemon.pid"
        if ! wait_for "$socket" "$!"; then
            echo "podman unavailable: $(tail -1 "$home/daemon.log")"
            return
        fi
    fi
    import_rootfs "$socket" && echo "podman unix://$socket" || echo "podman unavailable: cannot import the test image"
}

# Removes every container of a daemon, then the daemon.
stop_engine() {
    home=$folder/$1
    socket=$home/$1.sock
    if answers "$socket"; then
        ids=$(curl -sf --unix-socket "$socket" 'http://d/containers/json?all=true' | grep -o '"Id":"[0-9a-f]*"' | cut -d'"' -f4) || ids=
        for id in $ids; do
            curl -s --max-time 30 --unix-socket "$socket" -X DELETE "http://d/containers/$id?force=true&v=true" >/dev/null || true
        done
    fi
    if [ -f "$home/daemon.pid" ]; then
        pid=$(cat "$home/daemon.pid")
        # The number may be somebody else's by now.
        if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "$home"; then
            kill "$pid" 2>/dev/null || true
            tries=0
            while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
                tries=$((tries + 1))
                sleep 0.1
            done
            kill -9 "$pid" 2>/dev/null || true
        fi
    fi
    # Shims and helpers of a daemon that died keep its folder busy; each names the folder.
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        [ "$pid" != "$$" ] || continue
        if { tr '\0' '\n' <"$entry/cmdline"; } 2>/dev/null | grep -q "^\(--[a-z-]*=\)\{0,1\}\(unix://\)\{0,1\}$home/"; then
            kill -9 "$pid" 2>/dev/null || true
        fi
    done
    while read -r _ at _; do
        case $at in "$home"/*) echo "$at" ;; esac
    done </proc/mounts | sort -r | while read -r at; do umount -l "$at" 2>/dev/null || true; done
}

command=${1:?start or stop}
folder=${2:?a folder}
case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
case $command in
start | start-docker | start-podman)
    if [ "$(id -u)" != 0 ]; then
        echo "docker unavailable: this script needs root"
        echo "podman unavailable: this script needs root"
        exit 0
    fi
    mkdir -p "$folder"
    busybox=$(command -v busybox) || { log "no busybox; apt-get install busybox-static"; exit 1; }
    if [ ! -f "$folder/rootfs.tar" ]; then
        rm -rf "$folder/rootfs"
        make_rootfs "$folder/rootfs"
        tar -C "$folder/rootfs" --numeric-owner --owner=0 --group=0 -cf "$folder/rootfs.tar.new" .
        mv "$folder/rootfs.tar.new" "$folder/rootfs.tar"
    fi
    [ "$command" = start-podman ] || start_docker
    [ "$command" = start-docker ] || start_podman
    ;;
rootfs)
    mkdir -p "$folder"
    busybox=$(command -v busybox) || { log "no busybox; apt-get install busybox-static"; exit 1; }
    make_rootfs "$folder/rootfs"
    ;;
stop)
    stop_engine docker
    stop_engine podman
    rm -rf "$folder"
    # Both leave empty cgroups behind; one that is in use cannot be removed.
    find /sys/fs/cgroup -depth -type d \( -path '*/gantry-test-*' -o -path '*/libpod_parent*' \) -exec rmdir {} + 2>/dev/null || true
    ;;
*)
    log "start, rootfs or stop, not $command"
    exit 2
    ;;
esac
