//! Tokio for openraft, without the chance in it: random numbers come from the simulation, and who waits for a value is woken in
//! the order of waiting.
//!
//! Outside of a simulation it is Tokio with random numbers like any.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
#[allow(deprecated, reason = "the same names by dependencies of our own would say no more")]
use openraft::{
    OptionalSend, OptionalSync,
    async_runtime::{
        AsyncRuntime, WatchReceiver, WatchSender,
        watch::{RecvError, SendError, Watch},
    },
    impls::TokioRuntime,
    rt::deterministic_rng::DeterministicRng,
};
use tokio::{
    sync::{Notify, watch},
    task::unconstrained,
};

use crate::chance;

/// openraft's own runtime whose numbers are seeded, from which only their generator is taken.
#[allow(deprecated, reason = "see above")]
type Tokio = TokioRuntime;
type Numbers = DeterministicRng<Tokio>;

/// See above.
#[derive(Debug)]
pub struct SeededRuntime(Tokio);

impl AsyncRuntime for SeededRuntime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Numbers as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = OrderedWatch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        Tokio::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        let drawn = Numbers::scope(chance::random(), async { Numbers::thread_rng() }).now_or_never();
        drawn.unwrap_or_else(|| unreachable!("it waits for nothing"))
    }

    fn new(threads: usize) -> Self {
        Self(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

/// Tokio's watch wakes those who wait in a random order.
#[derive(Debug)]
pub struct OrderedWatch;

/// See [`OrderedWatch`].
pub struct Sender<T> {
    value: watch::Sender<T>,
    /// Dropped with the last sender, so that receivers hear of it.
    changed: Arc<Changed>,
}

/// See [`OrderedWatch`].
pub struct Receiver<T> {
    value: watch::Receiver<T>,
    changed: Arc<Notify>,
}

/// Says so when it is dropped as well.
struct Changed(Arc<Notify>);

impl Drop for Changed {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), changed: Arc::clone(&self.changed) }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), changed: Arc::clone(&self.changed) }
    }
}

impl Watch for OrderedWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = watch::Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let (sender, value) = watch::channel(init);
        let changed = Arc::new(Changed(Arc::default()));
        let receiver = Receiver { value, changed: Arc::clone(&changed.0) };
        (Sender { value: sender, changed }, receiver)
    }
}

impl<T: OptionalSend + OptionalSync> WatchSender<OrderedWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.value.send(value).map_err(|unsent| SendError(unsent.0))?;
        self.changed.0.notify_waiters();
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = self.value.send_if_modified(modify);
        if modified {
            self.changed.0.notify_waiters();
        }
        modified
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.value.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Receiver { value: self.value.subscribe(), changed: Arc::clone(&self.changed.0) }
    }
}

impl<T: OptionalSend + OptionalSync> WatchReceiver<OrderedWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), RecvError> {
        loop {
            // Waits from before the look on, so that nothing is missed.
            let notify = Arc::clone(&self.changed);
            let mut notified = std::pin::pin!(notify.notified());
            notified.as_mut().enable();
            // Not to be put off for fairness: then nobody would wake it.
            if let Some(changed) = unconstrained(self.value.changed()).now_or_never() {
                return changed.map_err(|_| RecvError(()));
            }
            notified.await;
        }
    }

    fn borrow_watched(&self) -> watch::Ref<'_, T> {
        self.value.borrow()
    }

    fn borrow_and_update(&mut self) -> watch::Ref<'_, T> {
        self.value.borrow_and_update()
    }
}
