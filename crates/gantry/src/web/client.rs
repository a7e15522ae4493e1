//! The commands' side of the local socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::exit_code::{Coded, ExitCode};

/// The longest a command waits for an answer; the daemon itself answers waits after less.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Asks the daemon of one data directory.
pub struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Makes a client; nothing is connected before the first question.
    ///
    /// Errors: what the system said to a new runtime.
    pub fn new(socket: PathBuf) -> Result<Self, Coded> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        Ok(Self { socket, runtime })
    }

    /// Says whether a daemon answers.
    pub fn answers(&self) -> bool {
        self.get("/v1/ping").is_ok()
    }

    /// Asks for something.
    ///
    /// Errors: [`Coded`] as the daemon's status says.
    pub fn get(&self, path: &str) -> Result<Value, Coded> {
        self.ask(Method::GET, path, None)
    }

    /// Asks for something to be done.
    ///
    /// Errors: [`Coded`] as the daemon's status says.
    pub fn post(&self, path: &str, body: &impl serde::Serialize) -> Result<Value, Coded> {
        self.ask(Method::POST, path, Some(serde_json::to_vec(body)?))
    }

    fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Value, Coded> {
        let (status, bytes) = self.runtime.block_on(async {
            let answer = exchange(&self.socket, method, path, body);
            tokio::time::timeout(ANSWER_WAIT, answer).await.map_err(|_| {
                let text = format!(
                    "the daemon has not answered for {} s; see its log",
                    ANSWER_WAIT.as_secs()
                );
                Coded::new(ExitCode::TimedOut, text)
            })?
        })?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
            Coded::new(
                ExitCode::Trouble,
                format!("the daemon's answer is not JSON: {error}"),
            )
        })?;
        if status.is_success() {
            return Ok(value);
        }
        let text = value
            .get("error")
            .and_then(Value::as_str)
            .unwrap_or("the daemon refused without a reason");
        let code = match status {
            StatusCode::NOT_FOUND => ExitCode::NotFound,
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => ExitCode::Conflict,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => ExitCode::Usage,
            _ => ExitCode::Trouble,
        };
        Err(Coded::new(code, text))
    }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<(StatusCode, Bytes), Coded> {
    let no_daemon = |error: std::io::Error| {
        let folder = socket.parent().unwrap_or(socket).display();
        Coded::new(
            ExitCode::NoDaemon,
            format!("no daemon answers for {folder} ({error}); start it with `gantry up`"),
        )
    };
    let stream = UnixStream::connect(socket).await.map_err(no_daemon)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gantry")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.unwrap_or_default())))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let bytes = answer.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok((status, bytes))
}

/// Writes a text so that it can stand in a path or query of the API.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
