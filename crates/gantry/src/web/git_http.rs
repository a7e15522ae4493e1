//! Git over HTTP: `git http-backend` behind the daemon. Reading is open to whoever reaches the port; writing wants
//! the token, as bearer or as the password of basic authentication.

use std::process::Stdio;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::response::IntoResponse;
use gantry_adapters::git::GitProgram;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::ask::App;

/// How many bytes of the program's headers are read.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// True if the caller sent the token, or none is needed.
pub fn has_token(app: &App, headers: &HeaderMap) -> bool {
    let Some(token) = app.token.as_deref() else {
        return true;
    };
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match sent.and_then(|text| text.split_once(' ')) {
        Some((scheme, value)) if scheme.eq_ignore_ascii_case("bearer") => same(value.trim(), token),
        Some((scheme, value)) if scheme.eq_ignore_ascii_case("basic") => {
            basic_password(value.trim()).is_some_and(|password| same(&password, token))
        }
        _ => false,
    }
}

/// Compares without telling by its time how much was right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |rest, (x, y)| rest | (x ^ y)) == 0
}

fn basic_password(value: &str) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::new());
    for byte in value.bytes().take_while(|byte| *byte != b'=') {
        let six = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits = (bits << 6) | u32::try_from(six).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

/// Serves one request of a Git client.
pub async fn serve(State(app): State<App>, Path(path): Path<String>, request: Request) -> Response<Body> {
    let query = request.uri().query().unwrap_or("").to_owned();
    let writes = query.contains("service=git-receive-pack") || path.ends_with("/git-receive-pack");
    let allowed = has_token(&app, request.headers());
    if writes && !allowed {
        let ask = [(
            header::WWW_AUTHENTICATE,
            "Basic realm=\"gantry: any name, the token as password\"",
        )];
        return (StatusCode::UNAUTHORIZED, ask, "a token is needed to push\n").into_response();
    }
    if path.split('/').any(|part| part == "..") {
        return (StatusCode::NOT_FOUND, "no such repository\n").into_response();
    }
    match run(&app, &path, &query, allowed, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, path, "git http-backend gave no answer");
            (
                StatusCode::BAD_GATEWAY,
                "git gave no answer; see the daemon's log\n",
            )
                .into_response()
        }
    }
}

async fn run(
    app: &App,
    path: &str,
    query: &str,
    allowed: bool,
    request: Request,
) -> std::io::Result<Response<Body>> {
    let headers = request.headers();
    let header = |name: header::HeaderName| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let mut command = GitProgram::http_backend(&app.wiring.data.repositories());
    command
        .env("PATH_INFO", format!("/{path}"))
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", request.method().as_str())
        .env("CONTENT_TYPE", header(header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", header(header::CONTENT_ENCODING))
        .env(
            "GIT_PROTOCOL",
            header(header::HeaderName::from_static("git-protocol")),
        )
        .env("REMOTE_ADDR", "local")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if allowed {
        // Git itself refuses to be written to by nobody, however the request spells it.
        command.env("REMOTE_USER", "gantry");
    }
    let length = header(header::CONTENT_LENGTH);
    if !length.is_empty() {
        command.env("CONTENT_LENGTH", length);
    }
    let mut child = Command::from(command).kill_on_drop(true).spawn()?;
    let gone = || std::io::Error::other("a pipe of the program is missing");
    let stdin = child.stdin.take().ok_or_else(gone)?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or_else(gone)?);
    // Ends with the request's body; a program that stops reading ends it sooner.
    tokio::spawn(feed(request.into_body(), stdin));
    let response = read_headers(&mut stdout).await?;
    let (sender, body) = Channel::<Bytes, std::io::Error>::new(8);
    tokio::spawn(async move {
        copy(stdout, sender).await;
        // The program has closed its output; waiting keeps it from staying behind as a zombie.
        drop(child.wait().await);
    });
    response.body(Body::new(body)).map_err(std::io::Error::other)
}

async fn feed(mut body: Body, mut stdin: ChildStdin) {
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data()
            && stdin.write_all(&data).await.is_err()
        {
            return;
        }
    }
    // The program may have ended already, which closes the pipe as well.
    drop(stdin.shutdown().await);
}

async fn copy(
    mut stdout: BufReader<ChildStdout>,
    mut sender: http_body_util::channel::Sender<Bytes, std::io::Error>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stdout.read(&mut buffer).await {
            Ok(0) => return,
            Ok(count) => {
                if sender
                    .send_data(Bytes::copy_from_slice(&buffer[..count]))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => return sender.abort(error),
        }
    }
}

async fn read_headers(stdout: &mut BufReader<ChildStdout>) -> std::io::Result<axum::http::response::Builder> {
    let mut response = Response::builder();
    let mut total = 0;
    loop {
        let mut line = String::new();
        let count = stdout.read_line(&mut line).await?;
        total += count;
        let line = line.trim_end();
        if count == 0 || total > HEADER_BYTES_MAX {
            return Err(std::io::Error::other("the program's headers do not end"));
        }
        if line.is_empty() {
            return Ok(response);
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(std::io::Error::other("a header of the program cannot be read"));
        };
        let value = value.trim();
        response = if name.eq_ignore_ascii_case("status") {
            response.status(value.split(' ').next().unwrap_or("500"))
        } else {
            response.header(name, value)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_basic_authentication_is_read() {
        assert_eq!(basic_password("Z2FudHJ5OnMzY3JldA=="), Some("s3cret".into()));
        assert_eq!(basic_password("Z2FudHJ5"), None);
        assert_eq!(basic_password("*"), None);
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }
}
