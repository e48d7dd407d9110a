//! A private package index on the loopback: the simple API (PEP 503) over a folder, for whoever knows the password.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// "me:secret" as a header of HTTP has it.
const LOGIN: &str = "authorization: basic bwu6c2vjcmv0";

/// Serves a folder until the test ends; gives "127.0.0.1:PORT".
pub fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A client that went away is none of the test's business.
            let _ = answer(stream, &folder);
        }
    });
    address
}

fn answer(mut stream: TcpStream, folder: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let known = headers.iter().any(|line| line.to_ascii_lowercase() == LOGIN);
    let path = request.split(' ').nth(1).unwrap_or_default().trim_matches('/').to_owned();
    let (status, kind, body) = match path.strip_prefix("simple/") {
        _ if !known => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"", "text/plain", Vec::new()),
        Some(project) => ("200 OK", "text/html", page(folder, project).into_bytes()),
        None => ("200 OK", "application/octet-stream", std::fs::read(folder.join(&path)).unwrap_or_default()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

fn page(folder: &Path, project: &str) -> String {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files = names.filter(|name| name.starts_with(&format!("{project}-")));
    files.map(|file| format!("<a href=\"/{file}\">{file}</a>\n")).collect()
}
