//! A digest that distinguishes publications with the same key.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::pure::Draft;

/// A digest of a publication, the same on every process of a bus, whatever its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(pub(super) [u8; 16]);

impl Digest {
    /// The digest of `drafts`: half of a SHA-256, which is sufficient since publishers are compared only with themselves.
    pub(super) fn of(drafts: &[Draft]) -> Self {
        let mut hash = Sha256::new();
        // Each part is prefixed with its length, so that different lists of parts have different inputs.
        let mut part = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(bytes);
        };
        for Draft { channel, event, payload, from: _, user: _ } in drafts {
            part(channel.as_bytes());
            part(event.as_bytes());
            // A chat client that repeats a message after a reconnect may have changed its display name.
            part(&[]);
            part(payload.placeholder_json().as_bytes());
            part(&u64::try_from(payload.attachments().len()).unwrap_or(u64::MAX).to_le_bytes());
            payload.attachments().iter().for_each(|attachment| part(attachment));
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        #[cfg(test)]
        NOTIFIED.with_borrow(|notified| {
            // A test may have dropped its receiver.
            let _ = notified.as_ref().map(|notified| notified.send(()));
        });
        Self(half)
    }
}

#[cfg(test)]
thread_local! {
    static NOTIFIED: std::cell::RefCell<Option<std::sync::mpsc::Sender<()>>> = const { std::cell::RefCell::new(None) };
}

/// Notifies `sender` whenever this thread has computed a digest.
#[cfg(test)]
pub(super) fn notify(sender: std::sync::mpsc::Sender<()>) {
    NOTIFIED.set(Some(sender));
}

/// 32 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::Payload;

    #[test]
    fn different_publications_have_different_digests() {
        let draft = Draft::new("a".parse().unwrap(), Payload::from_text("x"));
        let placeholder = br#"{"_placeholder":true,"num":0}"#;
        let binary = |bytes: &'static [u8]| Payload::with_attachments(placeholder, vec![bytes.into()]).unwrap();
        let all = [
            vec![],
            vec![draft.clone()],
            vec![draft.clone(), draft.clone()],
            vec![Draft { channel: "b".parse().unwrap(), ..draft.clone() }],
            vec![draft.clone().event("b".parse().unwrap())],
            vec![Draft { payload: Payload::from_text("y"), ..draft.clone() }],
            vec![Draft { payload: binary(b"x"), ..draft.clone() }],
            vec![Draft { payload: binary(b"y"), ..draft.clone() }],
        ];
        for (n, one) in all.iter().enumerate() {
            for (m, other) in all.iter().enumerate() {
                assert_eq!(Digest::of(one) == Digest::of(other), n == m, "{n} {m}");
            }
        }
    }

    #[test]
    fn a_display_name_does_not_change_the_message() {
        let draft = Draft::new("a".parse().unwrap(), Payload::from_text("x"));
        let named = Draft { from: Some("b".into()), ..draft.clone() };
        assert_eq!(Digest::of(&[draft]), Digest::of(&[named]));
    }

    /// During an update, replicas of two versions serve one bus.
    #[test]
    fn the_digest_is_stable() {
        let draft = Draft::new("news".parse().unwrap(), Payload::from_text("x"));
        assert_eq!(Digest::of(&[draft]).to_string(), "8d9ed7b0c02da1f4d91c19b2a8c544fa");
    }
}
