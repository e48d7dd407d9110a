//! A web server over a table of paths, for the read-only store and the metadata service: std threads, HTTP/1.1, one
//! request per connection. It knows ranges and `If-Match`, or whatever a handler makes of a request.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A request, as far as a handler needs it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// The path, and the query if there is one.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// An answer: status, headers, body. The length is added.
pub type Told = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Serves until the test ends; gives the address, `http://127.0.0.1:PORT`.
pub fn serve(handler: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> String {
    serve_at("127.0.0.1", handler)
}

/// The same, at another address of this machine.
pub fn serve_at(address: &str, handler: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let handler = Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handler = Arc::clone(&handler);
            // A client that went away is its own matter.
            std::thread::spawn(move || answer(stream, &*handler).unwrap_or_default());
        }
    });
    format!("http://{address}")
}

/// Answers for a file: whole, or a range of it, with an ETag.
pub fn file(asked: &Asked, content: &[u8], etag: &str) -> Told {
    let size = content.len();
    let named = vec![("etag", etag.to_owned())];
    if asked.headers.get("if-match").is_some_and(|wanted| wanted != etag) {
        return (412, named, Vec::new());
    }
    if asked.headers.get("if-none-match").is_some_and(|known| known == etag) {
        return (304, named, Vec::new());
    }
    let range = asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((Ok(first), Ok(last))) = range.map(|(first, last)| (first.parse::<usize>(), last.parse::<usize>())) else {
        return (200, named, content.to_vec());
    };
    if first >= size {
        return (416, vec![("content-range", format!("bytes */{size}"))], Vec::new());
    }
    let last = last.min(size - 1);
    let range = ("content-range", format!("bytes {first}-{last}/{size}"));
    (206, [named, vec![range]].concat(), content[first..=last].to_vec())
}

fn answer(mut stream: TcpStream, handler: &dyn Fn(&Asked) -> Told) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split(' ').map(str::to_owned);
    let mut asked = Asked {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: BTreeMap::new(),
    };
    for line in lines.by_ref() {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        asked.headers.insert(name.to_lowercase(), value.to_owned());
    }
    let (status, headers, body) = handler(&asked);
    let mut text = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{text}\r\n").as_bytes())?;
    if asked.method != "HEAD" {
        stream.write_all(&body)?;
    }
    Ok(())
}
