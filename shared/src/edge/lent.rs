//! A socket that actix has on loan, so that a stream can have it back.
//!
//! Actix holds two buffers of 8 KiB for each connection, and a task with all that a request may need. That is well spent on
//! requests; a stream, whose connection is used for nothing else until it ends, needs none of it. So actix reads and writes
//! through a [`Lent`]; once an answer is known to be a stream, [`Loan::recall`] takes the socket away. What actix
//! then still writes goes nowhere, what it reads is the end, and it lets go of the connection as it always does. Whatever
//! was left with [`Loan::go_on`] then goes on in its place: in the same task of the same worker, as the same
//! connection to be counted and waited for at the stop.

use std::{
    cell::RefCell,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_service::Service;
use actix_web::{dev::Extensions, rt::net::TcpStream};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Watch;

/// The socket of a connection, until it is recalled. For actix.
pub(super) struct Lent(Loan);

/// The socket and what comes after it. Goes along with each request of the connection.
#[derive(Clone)]
pub(super) struct Loan(Rc<RefCell<State>>);

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").finish_non_exhaustive()
    }
}

struct State {
    socket: Option<TcpStream>,
    /// Whether actix may still hold bytes of an answer before: a client may send requests without waiting for answers.
    owes: bool,
    rest: Option<LocalBoxFuture<'static, ()>>,
}

impl Loan {
    fn of(socket: TcpStream) -> Self {
        Self(Rc::new(RefCell::new(State { socket: Some(socket), owes: false, rest: None })))
    }

    /// Takes the socket away from actix, unless that has been done, or an answer before is not written yet.
    pub(super) fn recall(&self) -> Option<TcpStream> {
        let mut state = self.0.borrow_mut();
        if state.owes { None } else { state.socket.take() }
    }

    /// An answer of actix's has come to its end, and is written next.
    pub(super) fn answered(&self) {
        self.0.borrow_mut().owes = true;
    }

    /// What is done with the connection once actix has let go of it.
    pub(super) fn go_on(&self, rest: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().rest = Some(Box::pin(rest));
    }

    fn rest(&self) -> Option<LocalBoxFuture<'static, ()>> {
        self.0.borrow_mut().rest.take()
    }

    /// What `act` does with the socket, or `gone` when it was recalled.
    fn with<T>(&self, act: impl FnOnce(Pin<&mut TcpStream>) -> T, gone: T) -> T {
        self.0.borrow_mut().socket.as_mut().map_or(gone, |socket| act(Pin::new(socket)))
    }
}

impl Lent {
    /// Tells `watch` of the connection, and each of its requests, by `data`, of the loan.
    pub(super) fn announce(&self, watch: &Watch, data: &mut Extensions) {
        if let Some(socket) = &self.0.0.borrow().socket {
            watch.accept(socket, data);
        }
        data.insert(self.0.clone());
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.with(|socket| socket.poll_read(cx, buffer), Poll::Ready(Ok(())))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.with(|socket| socket.poll_write(cx, bytes), Poll::Ready(Ok(bytes.len())))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Actix flushes once it has handed over all that it had.
        self.0.0.borrow_mut().owes = false;
        self.0.with(|socket| socket.poll_flush(cx), Poll::Ready(Ok(())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(|socket| socket.poll_shutdown(cx), Poll::Ready(Ok(())))
    }
}

/// Serves a connection: by `http` first, and then by what was left to go on with.
pub(super) async fn serve<S>(http: Rc<S>, socket: TcpStream) -> Result<(), S::Error>
where
    S: Service<(Lent, Option<SocketAddr>), Response = ()>,
{
    let peer = socket.peer_addr().ok();
    // An option that cannot be set is gone without.
    let _ = socket.set_nodelay(true);
    let loan = Loan::of(socket);
    // In a box of its own, so that a stream need not keep the room that it takes.
    Box::pin(http.call((Lent(loan.clone()), peer))).await?;
    if let Some(rest) = loan.rest() {
        drop((http, loan));
        rest.await;
    }
    Ok(())
}
