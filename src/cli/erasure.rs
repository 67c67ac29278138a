//! Erasing users, in the background. What is to be done is in the store, so a restart goes on: everything
//! is looked for again, and what is gone is not found.
//!
//! ```text
//! asked for ─► the last commands of old sockets are over ─► sealed ─► each message deleted, each reaction
//! and membership taken back, by the shards that own them ─► sealed ─► out of pages and kept segments
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use crate::http::Shards;
use crate::limits::ERASURE_GRACE_MS;
use crate::model::{ConversationId, Erasure, ErrorCode, UserId, Wall};
use crate::node::admin::{AdminAnswer, AdminCommand, Sender};
use crate::store::{Met, Orders, ReadHandle, StoreError, Trace};

/// How often the store is asked whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is asked whether that is done.
const POLL: Duration = Duration::from_millis(100);
/// When what could not be taken now is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Commands under way at once.
const WINDOW: usize = 64;
/// A store that has not come so far after so long does not: all is begun again.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How long a failure waits for its next try.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Why the work was left.
enum Left {
    Stopped,
    Store(StoreError),
    Unfinished,
}

impl From<StoreError> for Left {
    fn from(error: StoreError) -> Left {
        Left::Store(error)
    }
}

pub struct Eraser {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Eraser {
    pub fn start(shards: Arc<dyn Shards>, read: ReadHandle, orders: Orders) -> io::Result<Eraser> {
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work { shards, read, orders, stop: stop.clone() };
        let thread =
            std::thread::Builder::new().name("erasure".into()).spawn(move || work.run())?;
        Ok(Eraser { stop, thread })
    }

    /// Leaves the rest to the next start.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread that erases users panicked");
        }
    }
}

struct Work {
    shards: Arc<dyn Shards>,
    read: ReadHandle,
    orders: Orders,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self) {
        while self.pause(LOOK).is_ok() {
            let running = self.read.erasures_running().unwrap_or_else(|error| {
                tracing::error!(%error, "users to erase cannot be looked up");
                Default::default()
            });
            for (user, begun_at) in running {
                match self.erase(&user, begun_at) {
                    Ok(()) => {
                        tracing::info!("a user was erased");
                        continue;
                    }
                    Err(Left::Stopped) => return,
                    Err(Left::Store(error)) => tracing::error!(%error, "a user is not erased yet"),
                    Err(Left::Unfinished) => tracing::error!("a user is not erased yet"),
                }
                if self.pause(AFTER_FAILURE).is_err() {
                    return;
                }
            }
        }
    }

    fn erase(&self, user: &UserId, begun_at: Wall) -> Result<(), Left> {
        let until = Wall(begun_at.0.saturating_add(ERASURE_GRACE_MS));
        self.pause(Duration::from_millis(ERASURE_GRACE_MS))?;
        self.seal()?;
        self.take_back_traces(user, until)?;
        self.end_memberships(user)?;
        self.seal()?;
        let met = self.take_out(user, until)?;
        // Names that shards still have in memory were read before.
        self.command_all(vec![AdminCommand::ReadAnew { user: user.clone() }])?;
        self.orders.user_erased(user.clone(), begun_at, met);
        self.wait_until(|| {
            let erasure = self.read.erasure(user)?;
            Ok(erasure != Some(Erasure::Running { begun_at }))
        })
    }

    fn take_out(&self, user: &UserId, until: Wall) -> Result<Met, Left> {
        let told = self.orders.erase_user(user.clone(), until);
        loop {
            match told.recv_timeout(POLL) {
                Ok(met) => return Ok(met),
                Err(RecvTimeoutError::Disconnected) => return Err(Left::Unfinished),
                Err(RecvTimeoutError::Timeout) => self.pause(Duration::ZERO)?,
            }
        }
    }

    /// Everything that is durable now is in pages on return.
    fn seal(&self) -> Result<(), Left> {
        let told = self.orders.rotate();
        let mut through = None;
        self.wait_until(|| {
            through = through.or(told.try_recv().ok());
            Ok(match through {
                Some(through) => self.read.sealed_commit()? >= through,
                None => false,
            })
        })
    }

    fn take_back_traces(&self, user: &UserId, until: Wall) -> Result<(), Left> {
        let mut after = None;
        loop {
            let traces = self.read.traces(user, until, after.as_ref())?;
            let commands = traces.found.into_iter().map(|trace| taking_back(trace, user));
            self.command_all(commands.collect())?;
            if traces.next.is_none() {
                return Ok(());
            }
            after = traces.next;
        }
    }

    fn end_memberships(&self, user: &UserId) -> Result<(), Left> {
        let mut after: Option<ConversationId> = None;
        loop {
            let found = self.read.conversations_of(user, after.as_ref(), WINDOW)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            let commands = found.into_iter().map(|(conversation, _)| AdminCommand::RemoveMember {
                conversation,
                user: user.clone(),
            });
            self.command_all(commands.collect())?;
        }
    }

    /// Each is done, or has nothing to be done to.
    fn command_all(&self, mut commands: Vec<AdminCommand>) -> Result<(), Left> {
        while !commands.is_empty() {
            let window: Vec<_> = commands.drain(..commands.len().min(WINDOW)).collect();
            let sent: Vec<_> = window.into_iter().map(|command| self.send(command)).collect();
            let mut failed = Vec::new();
            for (command, answer) in sent {
                if !self.is_settled(&answer)? {
                    failed.push(command);
                }
            }
            if !failed.is_empty() {
                self.pause(RETRY)?;
                commands.extend(failed);
            }
        }
        Ok(())
    }

    fn send(&self, command: AdminCommand) -> (AdminCommand, mpsc::Receiver<AdminAnswer>) {
        let (sender, answer) = mpsc::channel();
        // An answer that nobody waits for any more, or none: both are tried again.
        let reply = Box::new(move |answer| {
            let _ = sender.send(answer);
        });
        let _ = self.shards.send(command.clone(), reply);
        (command, answer)
    }

    /// Done, or nothing to be done to; `false` when it is to be tried again.
    fn is_settled(&self, answer: &mpsc::Receiver<AdminAnswer>) -> Result<bool, Left> {
        loop {
            match answer.recv_timeout(POLL) {
                Ok(AdminAnswer::Refused(code)) => {
                    use ErrorCode::{RateLimited, StorageUnavailable};
                    return Ok(!matches!(code, StorageUnavailable | RateLimited));
                }
                Ok(AdminAnswer::Unavailable) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(false),
                // At a stop nobody answers any more.
                Err(mpsc::RecvTimeoutError::Timeout) => self.pause(Duration::ZERO)?,
            }
        }
    }

    fn wait_until(&self, mut holds: impl FnMut() -> Result<bool, StoreError>) -> Result<(), Left> {
        let begun = Instant::now();
        while !holds()? {
            self.pause(POLL)?;
            if begun.elapsed() >= PATIENCE {
                return Err(Left::Unfinished);
            }
        }
        Ok(())
    }

    fn pause(&self, pause: Duration) -> Result<(), Left> {
        let begun = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Left::Stopped);
            }
            let left = pause.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::park_timeout(left);
        }
    }
}

fn taking_back(trace: Trace, user: &UserId) -> AdminCommand {
    match trace {
        Trace::Message { conversation, message } => {
            AdminCommand::DeleteMessage { conversation, message, by: Sender::User(user.clone()) }
        }
        Trace::Reaction { conversation, message, emoji } => {
            AdminCommand::RemoveReaction { conversation, message, emoji, user: user.clone() }
        }
    }
}
