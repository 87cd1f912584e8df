//! Listeners with a thread for each connection, all of which end together.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A lock that a panic of another thread does not take away.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the threads of a server that it ends, and closes what they are waiting for.
#[derive(Debug, Default)]
pub(super) struct Stop {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    next: u64,
    streams: HashMap<u64, TcpStream>,
}

/// A connection that is closed when this is dropped, or when the server ends.
pub(super) struct Watched<'a> {
    stop: &'a Stop,
    id: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(stream) = lock(&self.stop.state).streams.remove(&self.id) {
            // Copies of the descriptor may still be open: closing alone would not tell the other side.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Stop {
    /// Takes care of a connection.
    pub(super) fn watch(&self, stream: &TcpStream) -> io::Result<Watched<'_>> {
        let stream = stream.try_clone()?;
        let mut state = lock(&self.state);
        if state.stopped {
            stream.shutdown(Shutdown::Both)?;
        }
        let id = state.next;
        state.next += 1;
        state.streams.insert(id, stream);
        Ok(Watched { stop: self, id })
    }

    /// Sleeps, unless the server ends: then it fails at once.
    pub(super) fn sleep(&self, duration: Duration) -> io::Result<()> {
        let end = Instant::now() + duration;
        let mut state = lock(&self.state);
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            if state.stopped {
                return Err(io::Error::other("the server ends"));
            }
            if rest.is_zero() {
                return Ok(());
            }
            let waited = self.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        for stream in state.streams.values() {
            stream.shutdown(Shutdown::Both).ok();
        }
        self.changed.notify_all();
    }
}

/// A listener; everything it has started ends when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on a free port and gives each connection to `handle`, in a thread of its own.
    pub(super) fn start(
        ip: IpAddr,
        handle: impl Fn(TcpStream, &Stop) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((ip, 0))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(Stop::default());
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || accept(&listener, &seen, &handle));
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

fn accept(listener: &TcpListener, stop: &Stop, handle: &(impl Fn(TcpStream, &Stop) + Sync)) {
    // The scope joins the threads of all connections.
    std::thread::scope(|scope| {
        for stream in listener.incoming() {
            if stop.stopped() {
                return;
            }
            let Ok(stream) = stream else { continue };
            scope.spawn(move || {
                let Ok(_watched) = stop.watch(&stream) else { return };
                // Small answers must not wait for the acknowledgement of the ones before.
                stream.set_nodelay(true).ok();
                handle(stream, stop);
            });
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        // accept(2) returns only for a connection.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
