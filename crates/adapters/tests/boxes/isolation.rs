//! What a check cannot reach.

use std::fs;
use std::net::TcpListener;

use gantry_adapters::engine::{Network, SandboxControl, SandboxEnding};

use crate::world::World;

#[test]
fn the_network_is_off_and_the_loopback_works() {
    let Some(world) = World::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let line = format!(
        "ls /sys/class/net; cat /proc/net/route | wc -l; \
         python3 - <<'E'\n\
         import socket, threading\n\
         for host, port in (('127.0.0.1', {port}), ('192.0.2.1', 80)):\n\
         \x20   try: socket.create_connection((host, port), 2); print('REACHED', host)\n\
         \x20   except OSError as e: print('refused')\n\
         s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print('loopback')\n\
         E\n"
    );
    assert_eq!(world.passes(&line), "lo\n1\nrefused\nrefused\nloopback\n");
}

#[test]
fn a_box_with_the_full_network_reaches_the_host() {
    let Some(world) = World::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let line = format!("python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}), 5)\"");
    let mut spec = world.spec(&line);
    spec.network = Network::Full;
    let report = world.run(&spec, &SandboxControl::default());
    assert_eq!(
        report.ending,
        SandboxEnding::Exited { code: 0 },
        "{:?}",
        report.evidence
    );
}

#[test]
fn nothing_of_the_host_can_be_written() {
    let Some(world) = World::new() else { return };
    let line = "for d in / /usr /usr/bin /etc /opt /proc/sys/kernel /sys /box /box/objects/0 $CARGO_HOME $RUSTUP_HOME; do \
                touch $d/gantry-was-here 2>/dev/null && echo \"WROTE $d\"; done; \
                echo x > /etc/passwd && echo WROTE passwd; mount -t tmpfs x /mnt 2>/dev/null && echo MOUNTED; \
                mount -o remount,rw / 2>/dev/null && echo REMOUNTED; umount /tmp 2>/dev/null && echo UNMOUNTED; \
                grep -E '^(CapEff|CapPrm|NoNewPrivs)' /proc/self/status | tr -d '\\t'; id -u; true";
    let log = world.passes(line);
    let expected = "CapPrm:0000000000000000\nCapEff:0000000000000000\nNoNewPrivs:1\n1000\n";
    assert!(log.ends_with(expected), "{log}");
    for word in ["WROTE", "MOUNTED", "REMOUNTED", "UNMOUNTED"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[test]
fn a_user_namespace_of_its_own_does_not_open_the_root() {
    let Some(world) = World::new() else { return };
    let line = "unshare -Urm sh -c 'mount -o remount,rw,bind / && echo REMOUNTED; \
                mount -o remount,rw,bind /usr && echo REMOUNTED; \
                umount /etc/passwd && echo UNMOUNTED' 2>/dev/null; true";
    assert_eq!(world.passes(line), "");
}

#[test]
fn secrets_of_the_host_cannot_be_read() {
    let Some(world) = World::new() else { return };
    let secret = world.path("secret");
    fs::write(&secret, "hidden").expect("a file");
    let home = std::env::home_dir().expect("a home");
    let line = format!(
        "cat {secret} {home}/.gitconfig {home}/.bashrc {home}/.npmrc {home}/.ssh/* {home}/.cargo/credentials.toml \
         /etc/shadow 2>/dev/null; ls {data} /root/.ssh /var/lib /srv /mnt 2>/dev/null; true",
        secret = secret.display(),
        home = home.display(),
        data = world.path("data").display(),
    );
    assert_eq!(world.passes(&line), "");
}

#[test]
fn other_processes_and_the_daemons_environment_are_not_there() {
    let Some(world) = World::new() else { return };
    let log = world.passes("ls -d /proc/[0-9]* | wc -l; env | cut -d= -f1 | grep -vE '^(_|PWD|OLDPWD|SHLVL)$' | sort | tr '\\n' ' '");
    let (processes, names) = log.split_once('\n').expect("two lines");
    assert!(processes.trim().parse::<u32>().expect("a number") <= 5, "{log}");
    let known = "CARGO_HOME CI GANTRY GANTRY_COMMIT HOME LANG PATH RUSTUP_HOME TERM";
    assert!(
        names.split_whitespace().all(|name| known.contains(name)),
        "{names}"
    );
}

#[test]
fn the_checks_own_environment_is_added() {
    let Some(world) = World::new() else { return };
    let mut spec =
        world.spec("echo $A $LANG $HOME; touch $HOME/x /tmp/x /var/tmp/x /dev/shm/x; echo to >/dev/stdout");
    spec.env = [("A", "one two"), ("LANG", "C")]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .to_vec();
    let report = world.run(&spec, &SandboxControl::default());
    assert_eq!(
        report.ending,
        SandboxEnding::Exited { code: 0 },
        "{:?}",
        report.evidence
    );
    assert_eq!(world.log(), "one two C /box/home\nto\n");
}
