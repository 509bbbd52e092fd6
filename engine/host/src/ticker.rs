//! Real time for the epochs that interrupt a plugin's computing.

#![expect(
    clippy::disallowed_methods,
    reason = "epochs tick by the clock on the wall, on a thread of their own"
)]

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use phasegate_core::time::Span;
use wasmtime::{Engine, EngineWeak};

/// How often the epoch goes up while a plugin is being called.
pub(crate) const TICK: Span = Span::from_millis(10);
/// Ticks without any call after which the thread sleeps until the next one.
const IDLE_TICKS: u32 = 100;

/// A thread that raises the engine's epoch while calls are under way. It starts with the first call.
pub(crate) struct Ticker {
    engine: EngineWeak,
    shared: Arc<Shared>,
    thread: OnceLock<Option<Thread>>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// The epoch goes up as long as this lives.
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self {
            engine: engine.weak(),
            shared: Arc::default(),
            thread: OnceLock::new(),
        }
    }

    /// Keeps the epoch going up. None where no thread could be started: then no plugin may run, for
    /// nothing would interrupt it.
    pub(crate) fn start(&self) -> Option<Ticking<'_>> {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let ticking = Ticking(&self.shared);
        let thread = self.thread.get_or_init(|| self.spawn()).as_ref()?;
        if self.shared.parked.load(Ordering::SeqCst) {
            thread.unpark();
        }
        Some(ticking)
    }

    fn spawn(&self) -> Option<Thread> {
        let shared = Arc::clone(&self.shared);
        let engine = self.engine.clone();
        std::thread::Builder::new()
            .name("plugin-epochs".into())
            .spawn(move || run(&shared, &engine))
            .ok()
            .map(|handle| handle.thread().clone())
    }
}

fn run(shared: &Shared, engine: &EngineWeak) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        std::thread::sleep(TICK.to_std());
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        drop(engine);
        idle = if shared.calls.load(Ordering::SeqCst) == 0 {
            idle + 1
        } else {
            0
        };
        if idle < IDLE_TICKS {
            continue;
        }
        // `parked` is set before the calls are counted again, and a call is counted before `parked`
        // is looked at: one of the two sees the other.
        shared.parked.store(true, Ordering::SeqCst);
        if shared.calls.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(LONGEST_PARK);
        }
        shared.parked.store(false, Ordering::SeqCst);
        idle = 0;
    }
}

/// A sleeping thread looks this often whether its engine is still there.
const LONGEST_PARK: Duration = Duration::from_secs(60);

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(Some(thread)) = self.thread.get() {
            thread.unpark();
        }
    }
}
