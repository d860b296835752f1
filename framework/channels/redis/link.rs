//! The link to one shard: one task with one connection, made again whenever it is cut.
//!
//! Flow: connect → log in, load the scripts → say that this worker lives and what it holds →
//! carry both ways and beat, until something fails → the same again, a little later each time.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, timeout};

use super::address::Address;
use super::conversation::{BEAT, Conversation};
use super::resp::{self, Value};
use super::scripts::Scripts;
use super::stream::{self, Stream};
use super::{Ear, QUEUED_MAX, Shards, State};
use crate::channels::worker::Worker;

/// First pause before the next attempt; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long logging in and loading the scripts may take.
const GREETING_MAX: Duration = Duration::from_secs(5);
/// Room for one read, bytes.
const READ_BYTES: usize = 64 * 1024;
/// Longest time messages wait for those behind them.
const TICK_MAX: Duration = Duration::from_millis(1);
/// Bytes encoded before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// Keeps the link; ends only when it is dropped.
pub(super) async fn run(shards: Arc<Shards>, shard: usize, worker: Arc<Worker>) {
    let host = shards.address.hosts[shard].clone();
    let mut pause = PAUSE_MIN;
    let mut resumed = false;
    loop {
        let mut link = Link { shards: &shards, shard, worker: &worker, is_up: false };
        let Err(error) = link.keep(resumed).await;
        let was_up = link.is_up;
        shards.disconnected(shard, error.to_string());
        if was_up {
            tracing::warn!(%error, redis = %host, "lost the link to Redis");
            resumed = true;
            pause = PAUSE_MIN;
        } else if pause >= PAUSE_MAX {
            tracing::warn!(%error, redis = %host, "cannot reach Redis");
        }
        // Workers that lost the same server do not come back as one.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

struct Link<'a> {
    shards: &'a Shards,
    shard: usize,
    worker: &'a Worker,
    is_up: bool,
}

/// A conversation and the sign that it has something to write.
struct Talk {
    conversation: Mutex<Conversation>,
    filled: Notify,
}

impl Talk {
    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link<'_> {
    async fn keep(&mut self, resumed: bool) -> io::Result<Infallible> {
        let address = &self.shards.address;
        let host = &address.hosts[self.shard];
        let mut stream = stream::connect(host, address.tls.as_ref()).await?;
        let greeting = greet(&mut stream, self.shards);
        let greeted = timeout(GREETING_MAX, greeting).await;
        let scripts = greeted.map_err(|_| failed("it does not answer"))??;
        let name = self.worker.table().session();
        let mut conversation = Conversation::new(name, scripts, self.shards);
        conversation.begin();
        self.shards.connected(self.shard, self.worker, resumed);
        self.is_up = true;
        self.shards.shards[self.shard].state.send_replace(State::Up);
        let talk = Talk { conversation: Mutex::new(conversation), filled: Notify::new() };
        let (input, output) = tokio::io::split(stream);
        tokio::select! {
            ended = self.read(input, &talk) => ended,
            ended = self.write(output, &talk) => ended,
            ended = beat(&talk) => ended,
        }
    }

    async fn read(
        &self,
        mut input: ReadHalf<Box<dyn Stream>>,
        talk: &Talk,
    ) -> io::Result<Infallible> {
        let mut bytes = BytesMut::with_capacity(READ_BYTES);
        loop {
            bytes.reserve(READ_BYTES);
            ended(input.read_buf(&mut bytes).await?)?;
            let _tick = self.worker.tick();
            self.hear(&mut bytes, talk)?;
            if self.worker.is_dirty() {
                yield_now().await;
                // Whoever has not come back by then goes with the next tick.
                let gathering = self.gather(&mut input, &mut bytes, talk);
                timeout(TICK_MAX, gathering).await.unwrap_or(Ok(()))?;
            }
        }
    }

    /// Reads on while messages of this worker's own are on their way back: they leave in the same
    /// piece.
    async fn gather(
        &self,
        input: &mut ReadHalf<Box<dyn Stream>>,
        bytes: &mut BytesMut,
        talk: &Talk,
    ) -> io::Result<()> {
        loop {
            let read = match input.read_buf(bytes).now_or_never() {
                Some(read) => read?,
                None if self.worker.is_publishing() => input.read_buf(bytes).await?,
                None => return Ok(()),
            };
            ended(read)?;
            self.hear(bytes, talk)?;
        }
    }

    fn hear(&self, bytes: &mut BytesMut, talk: &Talk) -> io::Result<()> {
        let mut conversation = talk.conversation();
        let ear = Ear { shards: self.shards, shard: self.shard, worker: self.worker };
        while let Some(value) = resp::next(bytes).map_err(|_| failed("it speaks no RESP3"))? {
            conversation.hear(value, &ear).map_err(|ended| failed(&ended.to_string()))?;
        }
        let queue = self.shards.shards[self.shard].queue();
        let has_more = !conversation.out.is_empty() || !queue.asks.is_empty();
        drop(queue);
        drop(conversation);
        if has_more {
            talk.filled.notify_one();
        }
        // An answer may have made more to say.
        self.worker.carry();
        Ok(())
    }

    async fn write(
        &self,
        mut output: WriteHalf<Box<dyn Stream>>,
        talk: &Talk,
    ) -> io::Result<Infallible> {
        let shard = &self.shards.shards[self.shard];
        loop {
            loop {
                let mut bytes = self.encode(talk)?;
                if bytes.is_empty() {
                    break;
                }
                while bytes.has_remaining() {
                    output.write_buf(&mut bytes).await?;
                }
                output.flush().await?;
            }
            tokio::select! {
                () = shard.filled.notified() => {}
                () = talk.filled.notified() => {}
            }
        }
    }

    /// Makes commands of what waits, up to a bound.
    fn encode(&self, talk: &Talk) -> io::Result<BytesMut> {
        let mut conversation = talk.conversation();
        let mut queue = self.shards.shards[self.shard].queue();
        if queue.asks.len() > QUEUED_MAX {
            return Err(failed("it takes less than is asked of it"));
        }
        while conversation.out.len() < WRITE_BYTES
            && conversation.has_room()
            && let Some(ask) = queue.asks.pop_front()
        {
            conversation.ask(&ask);
        }
        Ok(conversation.out.split())
    }
}

async fn beat(talk: &Talk) -> io::Result<Infallible> {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        talk.conversation().tick().map_err(|ended| failed(&ended.to_string()))?;
        talk.filled.notify_one();
    }
}

/// Logs in, learns which process answers, and loads the scripts.
async fn greet(stream: &mut Box<dyn Stream>, shards: &Shards) -> io::Result<Scripts> {
    let address = &shards.address;
    let mut out = BytesMut::new();
    hello(&mut out, address);
    let database = address.database.to_string();
    resp::command(&mut out, &[b"SELECT", database.as_bytes()]);
    resp::command(&mut out, &[b"INFO", b"server"]);
    for source in Scripts::sources() {
        resp::command(&mut out, &[b"SCRIPT", b"LOAD", source.as_bytes()]);
    }
    stream.write_all_buf(&mut out).await?;
    stream.flush().await?;
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    let greeting = reply(stream, &mut bytes).await?;
    if let Value::Error(words) = &greeting {
        return Err(refused(words));
    }
    reply_bytes(stream, &mut bytes).await?;
    let about = reply_bytes(stream, &mut bytes).await?;
    let run = run_of(&about).ok_or_else(|| failed("its INFO names no run_id"))?;
    let mut hashes = Vec::new();
    for _ in 0..Scripts::sources().len() {
        hashes.push(reply_bytes(stream, &mut bytes).await?.to_vec());
    }
    Ok(Scripts::new(hashes, address, &run, &shards.limits))
}

fn hello(out: &mut BytesMut, address: &Address) {
    match &address.login {
        None => resp::command(out, &[b"HELLO", b"3", b"SETNAME", b"hulse"]),
        Some(login) => {
            let (user, password) = (login.user.as_bytes(), login.password.as_bytes());
            resp::command(out, &[b"HELLO", b"3", b"AUTH", user, password, b"SETNAME", b"hulse"]);
        }
    }
}

async fn reply(stream: &mut Box<dyn Stream>, bytes: &mut BytesMut) -> io::Result<Value> {
    loop {
        if let Some(value) = resp::next(bytes).map_err(|_| failed("it speaks no RESP3"))? {
            return Ok(value);
        }
        ended(stream.read_buf(bytes).await?)?;
    }
}

async fn reply_bytes(
    stream: &mut Box<dyn Stream>,
    bytes: &mut BytesMut,
) -> io::Result<bytes::Bytes> {
    match reply(stream, bytes).await? {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Error(words) => Err(refused(&words)),
        _ => Err(failed("it answered what was not asked")),
    }
}

/// The line `run_id:..` of `INFO`.
fn run_of(about: &[u8]) -> Option<Vec<u8>> {
    let about = std::str::from_utf8(about).ok()?;
    let run = about.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    Some(run.trim().as_bytes().to_vec())
}

fn ended(read: usize) -> io::Result<()> {
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Redis' own words about user and password name neither.
fn refused(words: &str) -> io::Error {
    if words.starts_with("ERR unknown command") {
        return failed("it is older than Redis 6");
    }
    failed(words)
}

fn failed(words: &str) -> io::Error {
    io::Error::other(words.to_owned())
}
