//! Speaks to the actuator.

use super::protocol::{
    Answer, AnswerLine, Hello, LONGEST_LINE, Observation, Order, OrderAnswer, Refused, Request, RequestLine, Role,
    VERSION, Welcome,
};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// No answer takes longer: an order on a device that hangs is answered after 2.5 s.
const DEADLINE: Duration = Duration::from_secs(5);

/// A connection. After an error it is of no use: connect anew.
#[derive(Debug)]
pub struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// Why the actuator did not answer as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or it went away.
    #[error("the actuator can't be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    /// It did not answer in time.
    #[error("the actuator did not answer within {} s", DEADLINE.as_secs())]
    TooLate,
    /// It answered what can't be understood: another version, as a rule.
    #[error("the actuator's answer can't be understood: {0}")]
    NotUnderstood(String),
    /// It refused.
    #[error("the actuator refuses ({:?}): {}", .0.reason, .0.message)]
    Refused(Refused),
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let stream = within(UnixStream::connect(socket)).await?;
        let (read, write) = stream.into_split();
        Ok(Self { read: BufReader::new(read), write })
    }

    /// Says who we are. It comes first; look whether we may order.
    ///
    /// # Errors
    /// When it is refused, or the connection fails.
    pub async fn hello(&mut self, role: Role, name: &str) -> Result<Welcome, ClientError> {
        match self.ask(Request::Hello(Hello { role, name: name.to_owned() })).await? {
            Answer::Hello(welcome) => Ok(welcome),
            other => Err(unexpected(&other)),
        }
    }

    /// All readings.
    ///
    /// # Errors
    /// When it is refused, or the connection fails.
    pub async fn observe(&mut self) -> Result<Observation, ClientError> {
        match self.ask(Request::Observe {}).await? {
            Answer::Observe(observation) => Ok(observation),
            other => Err(unexpected(&other)),
        }
    }

    /// Orders. What came of it on each GPU is in the answer.
    ///
    /// # Errors
    /// When the whole order is refused, or the connection fails.
    pub async fn order(&mut self, order: Order) -> Result<OrderAnswer, ClientError> {
        match self.ask(Request::Order(order)).await? {
            Answer::Order(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, request: Request) -> Result<Answer, ClientError> {
        let not_understood = |error: serde_json::Error| ClientError::NotUnderstood(error.to_string());
        let mut line = serde_json::to_vec(&RequestLine { version: VERSION, request }).map_err(not_understood)?;
        line.push(b'\n');
        let mut answer = Vec::new();
        within(async {
            // a refusal may have come before we wrote: it is read all the same
            let written = self.write.write_all(&line).await;
            let most = LONGEST_LINE as u64 * 4;
            let read = (&mut self.read).take(most).read_until(b'\n', &mut answer).await?;
            if read == 0 {
                written?;
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Ok(())
        })
        .await?;
        match serde_json::from_slice::<AnswerLine>(&answer).map_err(not_understood)?.answer {
            Answer::Refused(refused) => Err(ClientError::Refused(refused)),
            answer => Ok(answer),
        }
    }
}

fn unexpected(answer: &Answer) -> ClientError {
    ClientError::NotUnderstood(format!("an answer to something else: {answer:?}"))
}

async fn within<T>(work: impl Future<Output = std::io::Result<T>>) -> Result<T, ClientError> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ClientError::TooLate),
    }
}
