//! Messages that are longer than is good for a server.
//!
//! What is sent then is a *stub*: which process has the whole, and how long it is. The receiver of the stub asks for the
//! whole, piece by piece. Arguments stay in the coordinator's ledger, and results with the agent: both are there for as long
//! as they may be asked for, and nothing is left on a server.

use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{message, names::QueueName};

/// The longest message that is sent whole, if the server carries that.
const WHOLE: usize = 128 << 10;
/// The longest at all.
pub(crate) const LONGEST: usize = 1 << 30;
/// Of it goes at a time, if the server carries that.
const PIECE: usize = 512 << 10;

/// The longest message that is sent whole to a server that takes so many bytes in one. Headers are a part of it.
pub(crate) fn whole(max_payload: usize) -> usize {
    WHOLE.min(max_payload / 2)
}

/// What stands for a long message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stub {
    /// Of a task: where it was.
    pub(crate) queue: QueueName,
    /// Whose task it is.
    pub(crate) coordinator: String,
    pub(crate) task: u64,
    /// Bytes of the whole.
    pub(crate) len: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Wanted {
    offset: u64,
}

/// Why there is no whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The process that had it has dropped it.
    Gone,
    /// The process that had it does not answer.
    Unreachable,
}

/// Where the whole of a verdict is to be had, by where it is to be confirmed: an agent's inbox has a place for each, `c` and `w`
/// before the verdict's number.
pub(crate) fn place_of_verdict(confirmation: &str) -> String {
    match confirmation.rsplit_once(".c.") {
        Some((inbox, number)) => format!("{inbox}.w.{number}"),
        None => String::from("nowhere"),
    }
}

/// The piece of `whole` that is asked for.
pub(crate) fn piece(whole: &Bytes, wanted: &[u8], max_payload: usize) -> Bytes {
    let wanted = message::decode::<Wanted>(wanted).and_then(|wanted| usize::try_from(wanted.offset).ok());
    match wanted {
        Some(offset) if offset < whole.len() => {
            let end = offset.saturating_add(PIECE.min(max_payload)).min(whole.len());
            whole.slice(offset..end)
        }
        _ => Bytes::new(),
    }
}

/// Asks for the whole of `len` bytes, and tries for as long as `patience` lasts without an answer.
pub(crate) async fn fetch(client: &Client, from: &str, len: u64, patience: Duration) -> Result<Bytes, Missing> {
    /// Between two attempts.
    const PAUSE: Duration = Duration::from_millis(200);
    let len = usize::try_from(len).ok().filter(|len| *len <= LONGEST).ok_or(Missing::Gone)?;
    let mut whole = Vec::new();
    let mut heard = Instant::now();
    while whole.len() < len {
        let wanted = message::encode(&Wanted { offset: whole.len() as u64 }).map_err(|_| Missing::Gone)?;
        match client.request(from.to_owned(), wanted).await {
            Ok(answer) if answer.payload.is_empty() || answer.payload.len() > len - whole.len() => {
                return Err(Missing::Gone);
            }
            Ok(answer) => {
                whole.extend_from_slice(&answer.payload);
                heard = Instant::now();
            }
            Err(_) if heard.elapsed() > patience => return Err(Missing::Unreachable),
            Err(e) if e.kind() == RequestErrorKind::TimedOut => {}
            Err(_) => sleep(PAUSE).await,
        }
    }
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole_and_no_more() {
        let whole = Bytes::from((0..=255_u8).cycle().take(PIECE * 2 + 17).collect::<Vec<_>>());
        let ask = |offset: u64, max| piece(&whole, &message::encode(&Wanted { offset }).unwrap(), max);
        for max in [PIECE, usize::MAX, 1000] {
            let mut all = Vec::new();
            while all.len() < whole.len() {
                all.extend_from_slice(&ask(all.len() as u64, max));
            }
            assert!(all == whole);
        }
        assert!(ask(whole.len() as u64, PIECE).is_empty() && ask(u64::MAX, PIECE).is_empty());
        assert!(piece(&whole, b"garbage", PIECE).is_empty());
    }
}
