//! How handlers reach the factory: a closure goes to its thread, the answer comes back.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use gantry_core::time::Timestamp;
use gantry_engine::event_loop::{Ask, Message};
use gantry_engine::factory::Factory;
use gantry_engine::git_forge::GitForge;
use gantry_engine::line::Line;
use gantry_engine::runner::BoxRunner;
use tokio::sync::{oneshot, watch};

use super::error::Refusal;

/// The factory as it is wired here.
pub type Wired = Factory<GitForge, BoxRunner>;
/// One line of it.
pub type WiredLine = Line<GitForge, BoxRunner>;
/// The way to its thread.
pub type Sender = mpsc::Sender<Message<GitForge, BoxRunner>>;

/// What every handler has.
#[derive(Clone)]
pub struct App {
    /// The way to the factory's thread.
    pub sender: Sender,
    /// The number of the last recorded fact.
    pub recorded: watch::Receiver<u64>,
    /// Told when the daemon is to stop.
    pub stop: watch::Sender<bool>,
    /// Paths and wiring.
    pub wiring: Arc<crate::wiring::Wiring>,
    /// Needed by callers that are not on the local socket.
    pub token: Option<Arc<str>>,
    /// Where logs of checks are.
    pub logs: PathBuf,
}

impl App {
    /// Runs a closure on the factory's thread, which then looks at what it changed.
    ///
    /// Errors: [`Refusal`] if the daemon is shutting down, and whatever the closure refuses.
    pub async fn ask<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
        &self,
        question: impl FnOnce(&mut Wired, Timestamp) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.send(Message::Ask, question).await
    }

    /// Runs a closure that changes nothing on the factory's thread.
    ///
    /// Errors: as [`App::ask`].
    pub async fn look<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
        &self,
        question: impl FnOnce(&mut Wired, Timestamp) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.send(Message::Look, question).await
    }

    async fn send<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
        &self,
        message: fn(Ask<GitForge, BoxRunner>) -> Message<GitForge, BoxRunner>,
        question: impl FnOnce(&mut Wired, Timestamp) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let ask = Box::new(move |factory: &mut Wired, now: Timestamp| {
            // The caller may have gone away; what it asked for is done all the same.
            drop(answer.send(question(factory, now)));
        });
        let gone = || Refusal::trouble("the daemon is shutting down");
        self.sender.send(message(ask)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?.map_err(Into::into)
    }
}
