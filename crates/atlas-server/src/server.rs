//! The accept loop.
//!
//! It is our own because `axum::serve` sets no TCP_NODELAY (Nagle and delayed acknowledgements
//! make 40 ms stalls between the events of a stream), has no time limit for request heads (a
//! client that sends one byte a second holds a connection for ever), and waits for open streams
//! without end when asked to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::rounds::Rounds;
use crate::routes::router;

/// Connections at a time; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 1_024;

/// Time for a request's head, and for an idle connection to send its next one.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Time between the wish to stop and the end of the last connection.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Serves until `shutdown` resolves, then lets running requests end for ten seconds at most.
/// Streams end themselves: they listen to the application's token.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let stop = app.stopping().clone();
    let router = router(app);
    let asked = async {
        shutdown.await;
        stop.cancel();
    };
    let ((), served) = tokio::join!(asked, accept(listener, router, stop.clone()));
    served
}

/// Resolves when the process is asked to end: an interrupt, or the signal that orchestrators send.
pub async fn shutdown_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let abandon = CancellationToken::new();
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), stop.clone());
                let abandon = abandon.clone();
                connections.spawn(async move {
                    abandon.run_until_cancelled(connection).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly. They come back when connections end; asking
                // again at once would only burn a core.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(STOP_TIME, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut: they did not end in time");
        abandon.cancel();
        connections.wait().await;
    }
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    // A body that is handed to its handler wakes the connection's own task.
    let rounds = Rounds::default();
    let ended = tokio::select! {
        ended = rounds.wait(serving.as_mut()) => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            rounds.wait(serving).await
        }
    };
    if let Err(error) = ended {
        // A client that went away: its affair.
        tracing::debug!(%error, "a connection ended early");
    }
}
