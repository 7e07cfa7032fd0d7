//! Framings, by hand: bytes as they were read in, pieces of them out, nothing allocated for a message.

pub(crate) mod http;
pub(crate) mod packet;
pub(crate) mod websocket;

/// The peer sent what its protocol does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server broke the protocol: {0}")]
pub(crate) struct Malformed(pub(crate) String);

/// The first `N` bytes of something; the rest is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Prefix<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Prefix<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Prefix<N> {
    /// Takes what there is room for.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(N - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&bytes[..taken]);
        self.len += taken;
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// What was taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The text between `before` and the next `"`, as in `"cursor":"…"`.
    pub(crate) fn quoted_after(&self, before: &str) -> Option<&str> {
        let text = std::str::from_utf8(self.bytes()).ok()?;
        let (_, rest) = text.split_once(before)?;
        Some(rest.split_once('"')?.0)
    }
}
