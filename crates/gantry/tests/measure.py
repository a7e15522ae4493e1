#!/usr/bin/env python3
"""Measures the release binary as a whole process: listing 100 changes, starting on a history of 10,000 changes, and idling.

Usage: python3 crates/gantry/tests/measure.py [path of gantry] [seconds of idling]
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

GANTRY = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/gantry")
IDLE_S = int(sys.argv[2]) if len(sys.argv) > 2 else 30
GATE = "[gate]\nslots = 2\n[[gate.check]]\nname = 'test'\nrun = 'true'\n"
ENV = dict(
    os.environ,
    GIT_CONFIG_GLOBAL="/dev/null",
    GIT_AUTHOR_NAME="a",
    GIT_AUTHOR_EMAIL="a@b",
    GIT_COMMITTER_NAME="a",
    GIT_COMMITTER_EMAIL="a@b",
)


def git(repo, *words, data=None):
    return subprocess.run(
        ["git", "-C", repo, *words], check=True, env=ENV, input=data, capture_output=True, text=True
    ).stdout.strip()


def make_repo(repo, branches):
    """A main with a gate and `branches` branches that add a file each, by one fast-import."""
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True, env=ENV)
    who = "committer a <a@b> 1700000000 +0000"
    out = [f"commit refs/heads/main\nmark :1\n{who}\ndata 5\nbegin\nM 100644 inline .gantry.toml\ndata {len(GATE)}\n{GATE}\n"]
    for n in range(branches):
        out.append(
            f"commit refs/heads/b{n}\n{who}\ndata 4\nwork\nfrom :1\nM 100644 inline f{n}\ndata 2\nx\n\n"
        )
    git(repo, "fast-import", "--quiet", data="".join(out))


def start(data):
    """Starts the daemon; returns it and the seconds until it answers."""
    before = time.monotonic()
    daemon = subprocess.Popen([GANTRY, "up", "--data-dir", data], stderr=subprocess.DEVNULL)
    while True:
        import socket

        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(data + "/control.sock")
                sock.sendall(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                if sock.recv(64).startswith(b"HTTP/1.1 200"):
                    return daemon, time.monotonic() - before
        except OSError:
            time.sleep(0.001)


def run(data, *words):
    return subprocess.run([GANTRY, *words, "--data-dir", data, "--json"], capture_output=True, text=True)


def timed(data, *words, times=40):
    took = []
    for _ in range(times):
        before = time.monotonic()
        done = run(data, *words)
        took.append((time.monotonic() - before) * 1000)
        assert done.returncode == 0, done
    return f"median {statistics.median(took):.1f} ms, best {min(took):.1f}, worst {max(took):.1f}"


def fill(data, tip, tree, count):
    """Writes a history as the store would: landed changes, a build with a check for each, their events."""
    base = sqlite3.connect(data + "/gantry.db")
    at = 1_700_000_000_000
    commit = lambda n: f"{n:040x}"
    base.executemany(
        "INSERT INTO change (version, repository, branch, source, head, title, author, priority, solo, offered_at_ms,"
        " since_ms, state, reason, reason_build, reason_commit) VALUES (3, 1, ?, 'branch', ?, ?, ?, 'normal', 0, ?, ?,"
        " 'landed', 'build', ?, ?)",
        [
            (f"old{n}", commit(n), f"a title of usual length, number {n}", f"agent {n % 20}", at + n * 60_000, at + n * 60_000 + 300_000, n, commit(n))
            for n in range(1, count + 1)
        ],
    )
    base.executemany(
        "INSERT INTO build (repository, base, candidate, tree, gate, sandbox, purpose, prepared_at_ms, started_at_ms,"
        " ended_at_ms, state, counts) VALUES (1, ?, ?, ?, ?, 'native:host', 'land', ?, ?, ?, 'passed', 0)",
        [(commit(n - 1), commit(n), commit(n), commit(7), at + n * 60_000, at + n * 60_000, at + n * 60_000 + 200_000) for n in range(1, count + 1)],
    )
    base.executemany("INSERT INTO build_member VALUES (?, 0, ?, ?, ?, ?)", [(n, n, commit(n), commit(n), commit(n)) for n in range(1, count + 1)])
    base.executemany("INSERT INTO check_run VALUES (?, 0, 'test', 'passed', NULL, 'passed', 200000, '[]')", [(n,) for n in range(1, count + 1)])
    for kind, text in [("change.offered", "offered"), ("build.started", "B tests C"), ("build.ended", "passed"), ("change.landed", "landed")]:
        base.executemany(
            "INSERT INTO event (at_ms, kind, repository, change, build, text, evidence) VALUES (?, ?, 1, ?, ?, ?, '[]')",
            [(at + n * 60_000, kind, n, n, text) for n in range(1, count + 1)],
        )
    base.commit()
    base.close()


def pss_kib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1])


def switches(pid):
    total = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/task/{task}/status"))
        total[status["Name"].strip() + "/" + task] = int(status["voluntary_ctxt_switches"])
    return total


def main():
    with tempfile.TemporaryDirectory(prefix="gantry-m-") as folder:
        repo, data = folder + "/repo", folder + "/data"
        make_repo(repo, 100)
        assert run(data, "init", "--repo", repo).returncode == 0
        fill(data, git(repo, "rev-parse", "main"), git(repo, "rev-parse", "main^{tree}"), 10_000)
        daemon, ready = start(data)
        print(f"ready on a history of 10,000 changes: {ready * 1000:.0f} ms")
        time.sleep(2)
        daemon.kill()
        daemon.wait()
        daemon, ready = start(data)
        print(f"ready after SIGKILL:                  {ready * 1000:.0f} ms")
        time.sleep(3)
        before, since = switches(daemon.pid), time.monotonic()
        time.sleep(IDLE_S)
        after, span = switches(daemon.pid), time.monotonic() - since
        print(f"idle: {pss_kib(daemon.pid) / 1024:.1f} MiB PSS, wake-ups a second: {sum(after.values()) - sum(before.values())} in {span:.0f} s")
        for task in after:
            if after[task] != before.get(task, 0):
                print(f"  {task}: {after[task] - before.get(task, 0)}")
        run(data, "queue", "freeze", "--reason", "r")
        for n in range(100):
            assert run(data, "queue", "add", f"b{n}").returncode == 0
        listed = json.loads(run(data, "queue", "list").stdout)
        assert len(listed["changes"]) == 100
        print("queue list --json, 100 changes:      ", timed(data, "queue", "list"))
        print("queue show --json:                   ", timed(data, "queue", "show", "C10050"))
        print("status --json:                       ", timed(data, "status"))
        print("queue list --all --json, 10,100:     ", timed(data, "queue", "list", "--all", times=3))
        print(f"after that: {pss_kib(daemon.pid) / 1024:.1f} MiB PSS")
        run(data, "queue", "thaw")
        before = time.monotonic()
        done = run(data, "queue", "wait", "--timeout", "300s")
        print(f"drain of 100: {time.monotonic() - before:.1f} s, exit {done.returncode}, {pss_kib(daemon.pid) / 1024:.1f} MiB PSS")
        run(data, "down")
        daemon.wait()


main()
