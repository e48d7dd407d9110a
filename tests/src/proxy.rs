//! A bad line: an HTTP proxy in front of a real server that spoils chosen answers, and writes down what it was asked.
//!
//! What is asked is passed on byte for byte, so that signatures hold; what comes back is read whole and then told as the
//! fault wants it, over the same kept-alive connections as the server's own. So one proxy spoils the answers of our S3
//! server and of a plain web server alike. Which request gets which fault is decided by a function of the test's.
//! (`pannier_s3_server::Faults` spoils every so-many-th answer of the S3 server; here it is this one and no other.)

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What is done to one answer. Positions are bytes of the object where they say so, else of the body.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It comes later.
    Latency(Duration),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// The connection is closed after so many bytes of the body.
    Cut(usize),
    /// Nothing comes after so many bytes of the body, for ever.
    Stall(usize),
    /// After so many bytes of the body come the others, one in a second.
    Trickle(usize),
    /// 503 instead, with so many seconds in `Retry-After`.
    Busy(u64),
    /// 200 and the whole object, whatever range was asked for.
    Whole,
    /// The range that begins one byte further on.
    OtherRange,
    /// The last byte is missing, and the length says so.
    Short,
    /// There is one byte more, and the length says so.
    Long,
    /// One bit of this byte of the object is another, if the answer has it.
    Flip(u64),
}

/// One request that went through.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its place among all requests, from 0.
    pub number: usize,
    /// `GET` or `HEAD`; there is nothing for requests with a body.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The bytes it asked for.
    pub range: Option<Range<u64>>,
    /// Its headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Seen {
    /// True if it asks for this byte of an artifact.
    pub fn asks_for(&self, byte: u64) -> bool {
        self.is_artifact() && self.range.as_ref().is_some_and(|range| range.contains(&byte))
    }

    /// True if it asks for a part of an artifact.
    pub fn is_artifact(&self) -> bool {
        self.path.ends_with("/artifact.tar.zst")
    }
}

/// What was done to one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// To which request.
    pub seen: Seen,
    /// What was done to it.
    pub fault: Fault,
    /// How many bytes of a body were sent, or tried to be.
    pub sent: u64,
}

type Decide = dyn Fn(&Seen) -> Fault + Send + Sync;

/// A running proxy; it lives as long as the test.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    decide: Arc<Mutex<Arc<Decide>>>,
}

impl Proxy {
    /// Begins to stand in front of `upstream` (`http://127.0.0.1:PORT`), faultless for now.
    pub fn start(upstream: &str) -> Self {
        let upstream: SocketAddr = upstream.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let proxy = Self { address, told: Arc::default(), decide: Arc::new(Mutex::new(Arc::new(|_| Fault::None))) };
        let serving = proxy.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let proxy = serving.clone();
                // A side that went away is its own matter.
                thread::spawn(move || proxy.connection(&client, upstream).unwrap_or_default());
            }
        });
        proxy
    }

    /// Its address, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on `decide` says what is done to each answer, and what was told is forgotten.
    pub fn inject(&self, decide: impl Fn(&Seen) -> Fault + Send + Sync + 'static) {
        *self.decide.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(decide);
        self.lock().clear();
    }

    /// What was told since.
    pub fn told(&self) -> Vec<Told> {
        self.lock().clone()
    }

    /// What was told since of an artifact.
    pub fn artifact(&self) -> Vec<Told> {
        self.told().into_iter().filter(|told| told.seen.is_artifact()).collect()
    }

    /// The ranges of an artifact that were asked for since.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.artifact().into_iter().filter_map(|told| told.seen.range).collect()
    }

    /// The bytes of an artifact that were sent since.
    pub fn sent(&self) -> u64 {
        self.artifact().iter().map(|told| told.sent).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, client: &TcpStream, upstream: SocketAddr) -> io::Result<()> {
        client.set_nodelay(true)?;
        let server = TcpStream::connect(upstream)?;
        server.set_nodelay(true)?;
        let (mut asking, mut answering) = (BufReader::new(client), BufReader::new(&server));
        while let Some(request) = Head::read(&mut asking)? {
            let (seen, fault) = self.note(&request);
            let request = match fault {
                Fault::Whole => request.without("range"),
                Fault::OtherRange => request.with("range", &next_range(&seen)),
                _ => request,
            };
            (&server).write_all(&request.bytes())?;
            let head = Head::read(&mut answering)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut body = vec![0; if seen.method == "HEAD" { 0 } else { head.length() }];
            answering.read_exact(&mut body)?;
            let closes = head.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            self.tell(client, Answer { head, body }.spoilt(&seen, &fault), &seen, &fault)?;
            if closes {
                return client.shutdown(Shutdown::Write);
            }
        }
        Ok(())
    }

    fn note(&self, request: &Head) -> (Seen, Fault) {
        let decide = self.decide.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut told = self.lock();
        let seen = request.seen(told.len());
        let fault = decide(&seen);
        told.push(Told { seen: seen.clone(), fault: fault.clone(), sent: 0 });
        (seen, fault)
    }

    /// Sends an answer as far as the fault lets it come; `Err` when the connection is at its end.
    fn tell(&self, mut client: &TcpStream, answer: Answer, seen: &Seen, fault: &Fault) -> io::Result<()> {
        let Answer { head, body } = answer;
        let begun = match *fault {
            Fault::Reset(at) | Fault::Cut(at) | Fault::Stall(at) | Fault::Trickle(at) => at.min(body.len()),
            _ => body.len(),
        };
        // Whoever looks after the client is done finds it counted.
        self.count(seen, fault, begun);
        client.write_all(&head.bytes())?;
        client.write_all(&body[..begun])?;
        if begun < body.len() { self.end(client, &body[begun..], seen, fault) } else { Ok(()) }
    }

    /// How an answer ends whose `rest` does not come as it should.
    fn end(&self, mut client: &TcpStream, rest: &[u8], seen: &Seen, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Reset(_) => {
                // What was written is on its way before the reset overtakes it.
                thread::sleep(Duration::from_millis(20));
                SockRef::from(client).set_linger(Some(Duration::ZERO))?;
            }
            Fault::Trickle(_) => {
                for byte in rest {
                    thread::sleep(Duration::from_secs(1));
                    self.count(seen, fault, 1);
                    client.write_all(&[*byte])?;
                }
                return Ok(());
            }
            // Until the other side has had enough.
            Fault::Stall(_) => drop(client.read(&mut [0])?),
            _ => {}
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Counts bytes of an answer, unless it is one from before the faults of now.
    fn count(&self, seen: &Seen, fault: &Fault, bytes: usize) {
        if let Some(told) = self.lock().get_mut(seen.number).filter(|told| told.fault == *fault) {
            told.sent += bytes as u64;
        }
    }
}

/// An answer of the real server.
struct Answer {
    head: Head,
    body: Vec<u8>,
}

impl Answer {
    /// With what the fault changes in it.
    fn spoilt(self, seen: &Seen, fault: &Fault) -> Self {
        let Self { mut head, mut body } = self;
        match *fault {
            Fault::Latency(latency) => thread::sleep(latency),
            Fault::Busy(seconds) => {
                head = Head::of("HTTP/1.1 503 Slow Down").with("retry-after", &seconds.to_string());
                body.clear();
            }
            Fault::Short => drop(body.pop()),
            Fault::Long => body.push(0),
            Fault::Flip(at) => {
                let start = seen.range.as_ref().map_or(0, |range| range.start);
                if let Some(byte) = at.checked_sub(start).and_then(|at| body.get_mut(at as usize)) {
                    *byte ^= 0x04;
                }
            }
            _ => {}
        }
        if seen.method != "HEAD" {
            head = head.with("content-length", &body.len().to_string());
        }
        Self { head, body }
    }
}

fn next_range(seen: &Seen) -> String {
    let range = seen.range.clone().unwrap_or(0..1);
    format!("bytes={}-{}", range.start + 1, range.end)
}

/// The first line of a request or an answer, and its headers.
#[derive(Debug, Clone)]
struct Head {
    first: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn of(first: &str) -> Self {
        Self { first: first.to_owned(), headers: Vec::new() }
    }

    /// The next one; none when the other side is done.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = from.lines();
        let Some(first) = lines.next().transpose()? else { return Ok(None) };
        let mut head = Self::of(&first);
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            head.headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(head))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn length(&self) -> usize {
        self.value("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| found != name);
        self
    }

    fn with(self, name: &str, value: &str) -> Self {
        let mut head = self.without(name);
        head.headers.push((name.to_owned(), value.to_owned()));
        head
    }

    fn bytes(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{headers}\r\n", self.first).into_bytes()
    }

    fn seen(&self, number: usize) -> Seen {
        let mut words = self.first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
        let range = self.value("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let range = range.and_then(|(first, last)| Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1));
        Seen { number, method, path, range, headers: self.headers.iter().cloned().collect() }
    }
}
