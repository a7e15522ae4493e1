//! One ordered stream of messages into the factory. A message only wakes the loop: what it says is read again from
//! where it is true.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use gantry_core::id::RepositoryId;
use gantry_core::limits::{LOOK_AGAIN_INTERVAL, WATCH_INTERVAL};
use gantry_core::time::Timestamp;

use crate::boxes::Boxes;
use crate::factory::Factory;
use crate::forge::Forge;
use crate::runner::BoxNews;

/// Something to be done on the factory's thread.
pub type Ask<F, B> = Box<dyn FnOnce(&mut Factory<F, B>, Timestamp) + Send>;

/// What may arrive.
pub enum Message<F, B> {
    /// A person or program asks.
    Ask(Ask<F, B>),
    /// A person or program looks and changes nothing: no line has to be looked at again for that.
    Look(Ask<F, B>),
    /// A box of a repository has news.
    News(RepositoryId, BoxNews),
    /// Finish what is under way in this thread, and return.
    Stop,
}

/// How many waiting messages are taken before the lines are looked at again.
const MESSAGES_AT_ONCE: usize = 256;

/// Runs until it is told to stop, or until nobody can tell it anything any more. `recorded` is called with the last
/// fact's number after each look at the lines.
pub fn run<F: Forge, B: Boxes>(
    mut factory: Factory<F, B>,
    messages: &Receiver<Message<F, B>>,
    clock: impl Fn() -> Timestamp,
    recorded: impl Fn(u64),
) -> Factory<F, B> {
    let mut seen = fingerprints(&mut factory);
    let mut wake_at = factory.reconcile(clock());
    let mut looked_at = clock();
    loop {
        tell(&factory, &recorded);
        let wait = wake_at
            .map_or(WATCH_INTERVAL, |at| at.since(clock()))
            .min(WATCH_INTERVAL);
        let mut due = match messages.recv_timeout(wait.max(Duration::from_millis(1))) {
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return factory,
            Ok(message) => {
                let changes = !matches!(message, Message::Look(_));
                take(&mut factory, message, clock());
                changes || wake_at.is_some_and(|at| at <= clock())
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = clock();
                wake_at.is_some_and(|at| at <= now) || now.since(looked_at) >= LOOK_AGAIN_INTERVAL
            }
        };
        for message in messages.try_iter().take(MESSAGES_AT_ONCE) {
            if matches!(message, Message::Stop) {
                return factory;
            }
            due |= !matches!(message, Message::Look(_));
            take(&mut factory, message, clock());
        }
        let now_seen = fingerprints(&mut factory);
        if due || now_seen != seen {
            wake_at = factory.reconcile(clock());
            looked_at = clock();
            seen = now_seen;
        }
    }
}

fn take<F: Forge, B: Boxes>(factory: &mut Factory<F, B>, message: Message<F, B>, now: Timestamp) {
    match message {
        Message::Ask(ask) | Message::Look(ask) => ask(factory, now),
        Message::News(repository, BoxNews::Ended(report)) => factory.report(repository, report, now),
        // That it is doomed is asked of the boxes when the plan is made.
        Message::News(_, BoxNews::Doomed(_)) | Message::Stop => {}
    }
}

fn fingerprints<F: Forge, B: Boxes>(factory: &mut Factory<F, B>) -> Vec<u64> {
    let (_, lines) = factory.parts();
    lines.iter_mut().map(|line| line.fingerprint()).collect()
}

fn tell<F: Forge, B: Boxes>(factory: &Factory<F, B>, recorded: &impl Fn(u64)) {
    match factory.store().last_fact() {
        Ok(sequence) => recorded(sequence),
        Err(error) => tracing::warn!(error = crate::line::chain(&error), "the facts cannot be counted"),
    }
}
