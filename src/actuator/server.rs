//! The actuator's socket: who may connect, who may order, and one line at a time.

use super::node::Node;
use super::protocol::{
    Answer, AnswerLine, Hello, LONGEST_LINE, Refused, Request, RequestLine, RequestRefusal, Role, VERSION, Welcome,
};
use crate::clock;
use serde::Deserialize;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::UCred;
use tokio::net::{UnixListener, UnixStream};

/// At most so many clients. An agent, its successor, a person who looks, and room.
const MOST_CLIENTS: usize = 8;

/// A client that does not take its answer for so long is let go.
const WRITE: Duration = Duration::from_secs(5);

/// Who may connect.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// User ids.
    pub uids: Vec<u32>,
    /// Group ids.
    pub gids: Vec<u32>,
}

impl Allowed {
    fn allows(&self, uid: u32, gid: u32) -> bool {
        self.uids.contains(&uid) || self.gids.contains(&gid)
    }
}

/// Why the socket can't be served.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct SocketError {
    path: PathBuf,
    why: String,
}

/// Makes the socket: readable by its owner alone, or by its group too where others are allowed. One that was left
/// behind is replaced only if nobody listens there.
///
/// # Errors
/// When somebody listens already, something else lies there, or the folder refuses.
pub fn bind(path: &Path, mode: u32) -> Result<UnixListener, SocketError> {
    let wrong = |why: String| SocketError { path: path.to_owned(), why };
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(wrong("there is something that is no socket: remove it, or name another".to_owned()));
        }
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => {
                return Err(wrong("another actuator listens there: only one may hold this node's GPUs".to_owned()));
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                tracing::info!(path = %path.display(), "a socket that nobody listens at is replaced");
                std::fs::remove_file(path).map_err(|error| wrong(error.to_string()))?;
            }
            Err(error) => return Err(wrong(format!("it can't be told whether somebody listens: {error}"))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error.to_string())),
    }
    let listener = UnixListener::bind(path).map_err(|error| wrong(error.to_string()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|error| wrong(error.to_string()))?;
    Ok(listener)
}

/// What all connections share.
#[derive(Debug)]
struct Desk {
    node: Arc<Node>,
    boot_id: String,
    allowed: Allowed,
    clients: AtomicUsize,
    ids: AtomicU64,
    /// The connection that may order, and its name.
    agent: Mutex<Option<(u64, String)>>,
}

/// Serves until it is dropped.
pub async fn serve(listener: UnixListener, node: Arc<Node>, boot_id: String, allowed: Allowed) {
    let desk = Arc::new(Desk {
        node,
        boot_id,
        allowed,
        clients: AtomicUsize::new(0),
        ids: AtomicU64::new(0),
        agent: Mutex::default(),
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let client = Client::new(desk.clone());
                tokio::spawn(client.serve(stream));
            }
            Err(error) => {
                // out of descriptors, as a rule: it passes
                tracing::error!(%error, "a client could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection.
struct Client {
    desk: Arc<Desk>,
    id: u64,
    role: Option<Role>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.desk.clients.fetch_sub(1, Ordering::Relaxed);
        self.leave_desk();
    }
}

impl Client {
    fn new(desk: Arc<Desk>) -> Self {
        desk.clients.fetch_add(1, Ordering::Relaxed);
        let id = desk.ids.fetch_add(1, Ordering::Relaxed);
        Self { desk, id, role: None }
    }

    async fn serve(mut self, stream: UnixStream) {
        let credentials = stream.peer_cred();
        let (read, mut write) = stream.into_split();
        if let Some(refused) = self.turned_away(credentials) {
            let _ = send(&mut write, Answer::Refused(refused)).await;
            return;
        }
        let mut reader = BufReader::new(read);
        loop {
            let answer = match line(&mut reader).await {
                Ok(Some(line)) => self.answer(&line).await,
                Ok(None) => return,
                Err(too_long) => {
                    let _ = send(&mut write, Answer::Refused(too_long)).await;
                    return;
                }
            };
            if let Err(error) = send(&mut write, answer).await {
                tracing::warn!(client = self.id, %error, "a client does not take its answer");
                return;
            }
        }
    }

    fn turned_away(&self, credentials: std::io::Result<UCred>) -> Option<Refused> {
        let message = match credentials {
            Ok(peer) if self.desk.allowed.allows(peer.uid(), peer.gid()) => {
                if self.desk.clients.load(Ordering::Relaxed) <= MOST_CLIENTS {
                    return None;
                }
                let message = format!("{MOST_CLIENTS} clients are connected already");
                return Some(Refused { reason: RequestRefusal::TooManyClients, message });
            }
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), gid = peer.gid(), pid = peer.pid(), "a client was turned away");
                format!("user {} of group {} may not connect: start with --allow-uid {0}", peer.uid(), peer.gid())
            }
            Err(error) => format!("the system does not tell who connects: {error}"),
        };
        Some(Refused { reason: RequestRefusal::WrongUser, message })
    }

    async fn answer(&mut self, line: &[u8]) -> Answer {
        let request = match parse(line) {
            Ok(request) => request,
            Err(refused) => return Answer::Refused(refused),
        };
        match (request, self.role) {
            (Request::Hello(hello), _) => Answer::Hello(self.welcome(hello)),
            (_, None) => refuse(RequestRefusal::HelloFirst, "say hello first".to_owned()),
            (Request::Observe {}, Some(_)) => Answer::Observe(self.desk.node.observe()),
            (Request::Order(_), Some(Role::Observer)) => {
                refuse(RequestRefusal::OnlyObserves, "it said that it would only look".to_owned())
            }
            (Request::Order(order), Some(Role::Agent)) => {
                // the agent before it may be gone by now
                if let Some(refused) = self.take_desk(None) {
                    return Answer::Refused(refused);
                }
                match self.desk.node.order(order).await {
                    Ok(answer) => Answer::Order(answer),
                    Err(refused) => Answer::Refused(refused),
                }
            }
        }
    }

    fn welcome(&mut self, Hello { role, name }: Hello) -> Welcome {
        self.role = Some(role);
        if role == Role::Observer {
            self.leave_desk();
        }
        // for logs: what a client calls itself is not ours to fill them with
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(64).collect();
        let why_not = (role == Role::Agent).then(|| self.take_desk(Some(name))).flatten();
        Welcome {
            build: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: self.desk.boot_id.clone(),
            now_boot_millis: clock::boot(),
            may_order: role == Role::Agent && why_not.is_none(),
            why_not,
            sequence: self.desk.node.sequence(),
        }
    }

    /// Is no longer the one that may order, if it was.
    fn leave_desk(&self) {
        let mut agent = self.desk.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, name)) = agent.take_if(|(id, _)| *id == self.id) {
            tracing::info!(agent = name, "the agent is gone: what it ordered holds until its end");
        }
    }

    /// Becomes the one that may order, unless another is.
    fn take_desk(&self, name: Option<String>) -> Option<Refused> {
        let mut agent = self.desk.agent.lock().unwrap_or_else(PoisonError::into_inner);
        match &*agent {
            Some((id, _)) if *id == self.id => None,
            Some((_, other)) => {
                tracing::warn!(agent = other, "a second agent is connected: its orders are refused");
                let message = format!("{other:?} is this node's agent and still connected: two agents on one node");
                Some(Refused { reason: RequestRefusal::AnotherAgent, message })
            }
            None => {
                let name = name.unwrap_or_else(|| format!("client {}", self.id));
                tracing::info!(agent = name, "an agent orders now");
                *agent = Some((self.id, name));
                None
            }
        }
    }
}

/// Reads one request.
fn parse(line: &[u8]) -> Result<Request, Refused> {
    /// The version alone: what else an unknown version says can't be judged.
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let bad = |error: serde_json::Error| Refused { reason: RequestRefusal::BadRequest, message: error.to_string() };
    let Versioned { version } = serde_json::from_slice(line).map_err(bad)?;
    if version != VERSION {
        let message = format!("version {version} is not spoken here, only {VERSION}");
        return Err(Refused { reason: RequestRefusal::UnsupportedVersion, message });
    }
    Ok(serde_json::from_slice::<RequestLine>(line).map_err(bad)?.request)
}

/// Reads one line of at most [`LONGEST_LINE`] bytes; nothing at the end.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>, Refused> {
    let mut line = Vec::new();
    loop {
        let Ok(bytes) = reader.fill_buf().await else { return Ok(None) };
        if bytes.is_empty() {
            return Ok(None);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(bytes.len());
        if line.len() + taken > LONGEST_LINE {
            let message = format!("a line of more than {LONGEST_LINE} bytes");
            return Err(Refused { reason: RequestRefusal::TooLong, message });
        }
        line.extend_from_slice(&bytes[..taken]);
        reader.consume(taken + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), answer: Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(&AnswerLine { version: VERSION, answer })?;
    line.push(b'\n');
    match tokio::time::timeout(WRITE, write.write_all(&line)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

fn refuse(reason: RequestRefusal, message: String) -> Answer {
    Answer::Refused(Refused { reason, message })
}
