//! Pulls from a registry's stand-in on the loopback that can be told to behave badly.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gantry_core::time::Timestamp;

use super::*;
use crate::layer::tests::{file, tar_of};
use crate::{Digest, ExportFormat, ImageStore, ImportError, ImportRequest, Imported};

const NOW: Timestamp = Timestamp::from_millis(5);

/// How a stand-in behaves.
#[derive(Default, Clone)]
struct Manner {
    /// Answers without this token get 401.
    token: Option<&'static str>,
    /// The user and password that a token is given for, in base64.
    basic: Option<&'static str>,
    /// Bodies of blobs of more than 1,000 bytes end after so many bytes.
    cut: Option<usize>,
    /// Ranges are not understood.
    no_ranges: bool,
}

struct StandIn {
    address: String,
    blobs: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl StandIn {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let blobs: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let ended = Arc::new(AtomicBool::new(false));
        let shared = (
            Arc::clone(&blobs),
            Arc::clone(&asked),
            Arc::clone(&ended),
            address.clone(),
        );
        let thread = std::thread::spawn(move || {
            let (blobs, asked, ended, address) = shared;
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                // A client that hangs up is its own affair.
                let _ = answer(stream.expect("a connection"), &manner, &blobs, &asked, &address);
            }
        });
        Self {
            address,
            blobs,
            asked,
            ended,
            thread: Some(thread),
        }
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        self.blobs
            .lock()
            .expect("no panic")
            .insert(path.to_owned(), bytes);
    }

    fn asked(&self, word: &str) -> usize {
        self.asked
            .lock()
            .expect("no panic")
            .iter()
            .filter(|line| line.contains(word))
            .count()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees its end.
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the stand-in does not panic");
        }
    }
}

fn answer(
    stream: TcpStream,
    manner: &Manner,
    blobs: &Mutex<HashMap<String, Vec<u8>>>,
    asked: &Mutex<Vec<String>>,
    address: &str,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(first) = lines.first().cloned() else {
        return Ok(());
    };
    let header = |name: &str| {
        let prefix = format!("{name}: ");
        lines.iter().find_map(|line| {
            let matches = line
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(&prefix));
            matches.then(|| line[prefix.len()..].to_owned())
        })
    };
    asked
        .lock()
        .expect("no panic")
        .push(format!("{first} {}", header("range").unwrap_or_default()));
    let mut stream = stream;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let authorization = header("authorization").unwrap_or_default();
    let mut reply = |status: &str, headers: &str, body: &[u8], sent: usize| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
            body.len()
        )?;
        stream.write_all(&body[..sent])
    };
    if path.starts_with("/token?") {
        let scoped = path == "/token?service=stand-in&scope=repository%3Aapp%3Apull";
        let known = manner
            .basic
            .is_none_or(|basic| authorization == format!("Basic {basic}"));
        let body = format!("{{\"token\":\"{}\"}}", manner.token.unwrap_or_default());
        return match scoped && known {
            true => reply("200 OK", "", body.as_bytes(), body.len()),
            false => reply("401 Unauthorized", "", b"", 0),
        };
    }
    if manner
        .token
        .is_some_and(|token| authorization != format!("Bearer {token}"))
    {
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"stand-in\",scope=\"repository:app:pull\"\r\n"
        );
        return reply("401 Unauthorized", &challenge, b"", 0);
    }
    let Some(body) = blobs.lock().expect("no panic").get(&path).cloned() else {
        return reply("404 Not Found", "", b"", 0);
    };
    let range = header("range").filter(|_| !manner.no_ranges);
    let from = range
        .as_ref()
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let body = &body[from.unwrap_or(0)..];
    let sent = manner
        .cut
        .filter(|_| body.len() > 1000)
        .map_or(body.len(), |cut| cut.min(body.len()));
    let status = if range.is_some() {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    reply(status, "", body, sent)
}

struct World {
    scratch: tempfile::TempDir,
    registry: StandIn,
    layer: Vec<u8>,
    image: Digest,
}

impl World {
    /// A registry that has `app:1`, which a store imported and exported.
    fn new(manner: Manner) -> Self {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let registry = StandIn::start(manner);
        let content: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        let layer = tar_of(&[(b"data", file(&content), 0o644, &content)]);
        let tar = scratch.path().join("rootfs.tar");
        std::fs::write(&tar, &layer).expect("a file");
        let store = ImageStore::open(scratch.path().join("made")).expect("a store");
        let image = store
            .import(&ImportRequest {
                path: &tar,
                name: None,
                now: NOW,
            })
            .expect("an image")
            .digest;
        let layout = scratch.path().join("layout");
        store
            .export(image, ExportFormat::OciFolder, &layout)
            .expect("an export");
        for entry in std::fs::read_dir(layout.join("blobs/sha256"))
            .expect("blobs")
            .flatten()
        {
            let hex = entry.file_name().into_string().expect("UTF-8");
            let bytes = std::fs::read(entry.path()).expect("a blob");
            registry.put(&format!("/v2/app/blobs/sha256:{hex}"), bytes.clone());
            registry.put(&format!("/v2/app/manifests/sha256:{hex}"), bytes.clone());
            if hex == image.hex() {
                registry.put("/v2/app/manifests/1", bytes);
            }
        }
        Self {
            scratch,
            registry,
            layer,
            image,
        }
    }

    fn store(&self) -> ImageStore {
        ImageStore::open(self.scratch.path().join("pulled")).expect("a store")
    }

    fn pull_as(&self, what: &str, credentials: Option<Credentials>) -> Result<Imported, PullError> {
        let reference = format!("{}/{what}", self.registry.address);
        self.store().pull(&PullRequest {
            reference: &reference,
            name: None,
            credentials,
            now: NOW,
        })
    }

    fn pull(&self, what: &str) -> Result<Imported, PullError> {
        self.pull_as(what, None)
    }

    fn layer_path(&self) -> String {
        format!("/v2/app/blobs/{}", Digest::of(&self.layer))
    }

    /// Nothing of a pull that failed is in the store.
    fn check_nothing_kept(&self) {
        let store = self.store();
        assert!(store.list().expect("a list").is_empty());
        assert_eq!(store.sweep().expect("a sweep"), crate::Swept::default());
    }
}

#[test]
fn an_image_is_pulled_once() {
    let world = World::new(Manner::default());
    let pulled = world.pull("app:1").expect("a pull");
    assert_eq!(pulled.digest, world.image);
    assert_eq!(
        world
            .store()
            .resolve(&format!("{}/app:1", world.registry.address))
            .expect("a name"),
        world.image
    );
    assert_eq!(
        world.store().record(world.image).expect("it").source_digest,
        Some(world.image)
    );
    world
        .pull(&format!("app@{}", world.image))
        .expect("a pull by digest");
    assert_eq!(
        world.registry.asked(&world.layer_path()),
        1,
        "the layer is not fetched again"
    );
}

#[test]
fn an_index_leads_to_the_image_of_this_machine() {
    let world = World::new(Manner::default());
    let platform = |architecture: &str, digest: Digest| {
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"{digest}\",\"size\":1,\
             \"platform\":{{\"os\":\"linux\",\"architecture\":\"{architecture}\"}}}}"
        )
    };
    let index = |entries: &[String]| {
        format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", entries.join(",")).into_bytes()
    };
    let here = crate::format::host_architecture();
    let both = [
        platform("sparc", Digest::of(b"other")),
        platform(here, world.image),
    ];
    world.registry.put("/v2/app/manifests/many", index(&both));
    assert_eq!(world.pull("app:many").expect("a pull").digest, world.image);
    world.registry.put("/v2/app/manifests/other", index(&both[..1]));
    let error = world.pull("app:other").expect_err("not for us").to_string();
    assert!(error.contains("it is for linux/sparc"), "{error}");
}

#[test]
fn a_token_is_fetched_where_one_is_asked_for() {
    let world = World::new(Manner {
        token: Some("open"),
        ..Manner::default()
    });
    assert_eq!(world.pull("app:1").expect("a pull").digest, world.image);
    assert_eq!(world.registry.asked("/token"), 1);
    // `me:pw` in base64.
    let world = World::new(Manner {
        token: Some("open"),
        basic: Some("bWU6cHc="),
        ..Manner::default()
    });
    let outcome = world.pull("app:1");
    assert!(
        matches!(outcome, Err(PullError::Unauthorized { .. })),
        "{outcome:?}"
    );
    let credentials = |password: &str| {
        Some(Credentials {
            user: "me".to_owned(),
            password: password.to_owned(),
        })
    };
    let error = world
        .pull_as("app:1", credentials("wrong"))
        .expect_err("a wrong password")
        .to_string();
    assert!(!error.contains("wrong"), "{error}");
    world.check_nothing_kept();
    assert_eq!(
        world.pull_as("app:1", credentials("pw")).expect("a pull").digest,
        world.image
    );
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let world = World::new(Manner {
        cut: Some(30_000),
        ..Manner::default()
    });
    assert_eq!(world.pull("app:1").expect("a pull").digest, world.image);
    assert_eq!(world.registry.asked("bytes=30000-"), 1);
    assert_eq!(world.registry.asked("bytes=60000-"), 1);
}

#[test]
fn a_download_that_never_ends_is_given_up() {
    for manner in [
        Manner {
            cut: Some(0),
            ..Manner::default()
        },
        Manner {
            cut: Some(30_000),
            no_ranges: true,
            ..Manner::default()
        },
    ] {
        let world = World::new(manner);
        let outcome = world.pull("app:1");
        assert!(matches!(outcome, Err(PullError::Cut { .. })), "{outcome:?}");
        world.check_nothing_kept();
    }
}

#[test]
fn what_does_not_have_its_digest_is_refused() {
    let world = World::new(Manner::default());
    let mut wrong = world.layer.clone();
    wrong[600] ^= 1;
    world.registry.put(&world.layer_path(), wrong);
    let outcome = world.pull("app:1");
    assert!(
        matches!(outcome, Err(PullError::Image(ImportError::Digest { .. }))),
        "{outcome:?}"
    );
    world
        .registry
        .put(&format!("/v2/app/manifests/{}", Digest::of(b"x")), b"y".to_vec());
    let outcome = world.pull(&format!("app@{}", Digest::of(b"x")));
    assert!(
        matches!(outcome, Err(PullError::Image(ImportError::Digest { .. }))),
        "{outcome:?}"
    );
    world.check_nothing_kept();
}

#[test]
fn what_is_missing_is_named() {
    let world = World::new(Manner::default());
    let error = world.pull("app:2").expect_err("no such tag").to_string();
    assert!(error.ends_with("has no app/manifests/2"), "{error}");
    world
        .registry
        .blobs
        .lock()
        .expect("no panic")
        .remove(&world.layer_path());
    let outcome = world.pull("app:1");
    assert!(matches!(outcome, Err(PullError::Missing { .. })), "{outcome:?}");
    world.check_nothing_kept();
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let address = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let store = ImageStore::open(scratch.path()).expect("a store");
    let reference = format!("{address}/app:1");
    let outcome = store.pull(&PullRequest {
        reference: &reference,
        name: None,
        credentials: None,
        now: NOW,
    });
    assert!(
        matches!(outcome, Err(PullError::Unreachable { .. })),
        "{outcome:?}"
    );
}
