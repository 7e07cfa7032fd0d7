//! Names of channels and events that exist only when they are right.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Bytes of the longest channel name, and characters of the longest event name.
pub const LONGEST: usize = 128;

/// Event names that Socket.IO's clients keep for themselves
/// (<https://socket.io/docs/v4/emit-cheatsheet/#reserved-events>).
pub const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The event that tells a client of a gap, on SSE and over Socket.IO.
pub const GAP: &str = "gap";

/// Event names that mean something else to clients: [`GAP`], the end of a stream, and what an `EventSource` fires by itself.
pub const OWN: [&str; 4] = [GAP, "end", "error", "open"];

/// Event names that the chat sends by itself, and what the channels of its rooms begin with.
const OWN_IN_CHAT: [&str; 2] = ["presence", "typing"];
const CHAT: &str = "chat.";

/// A name that is not right, with what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a channel name.
    #[error("a channel name is 1 to {LONGEST} of the characters A-Z a-z 0-9 _ - . ~")]
    Channel,
    /// Not an event name.
    #[error(
        "an event name is 1 to {LONGEST} printable characters; line ends, controls, invisible characters and spaces other \
         than U+0020 are not accepted"
    )]
    Event,
    /// An event name that the server or the client's platform gives a meaning of its own.
    #[error(
        "the event name `{0}` is reserved: clients take it for an event of the server or of EventSource itself, as gap, end, error and open; choose another"
    )]
    Own(&'static str),
    /// An event name that the chat sends by itself.
    #[error(
        "the event name `{0}` is reserved on channels of the chat (`chat.*`), as are presence and typing; choose another"
    )]
    OwnInChat(&'static str),
    /// An event name that clients keep for themselves.
    #[error(
        "the event name `{0}` is reserved by Socket.IO, as are connect, connect_error, disconnect, disconnecting, newListener and removeListener"
    )]
    Reserved(&'static str),
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// The name of a channel: 1 to 128 of `A-Z a-z 0-9 _ - . ~` (the characters that no URL escapes, RFC 3986 §2.3).
    ChannelName
}

name! {
    /// The name of an event: 1 to 128 printable characters, none of Socket.IO's own names and none of [`OWN`].
    EventName
}

impl FromStr for ChannelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"_-.~".contains(&b);
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(unreserved) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Channel)
        }
    }
}

impl EventName {
    /// The name of an event that was given none: `message`, which SSE leaves out and Socket.IO emits as such.
    pub const DEFAULT: &'static str = "message";

    /// Whether this is the name of an event that was given none.
    #[must_use]
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }

    /// The name of an event that is in a log already. Names that were reserved later are delivered still.
    ///
    /// # Errors
    /// When it is no name, or Socket.IO's clients could not be sent it.
    pub fn from_log(text: &str) -> Result<Self, NameError> {
        if text == Self::DEFAULT {
            return Ok(Self::default());
        }
        if let Some(reserved) = RESERVED.iter().find(|name| **name == text) {
            return Err(NameError::Reserved(reserved));
        }
        // At most four bytes a character: the first test spares counting a long text.
        let fits = !text.is_empty() && text.len() <= 4 * LONGEST && text.chars().count() <= LONGEST;
        if fits && text.chars().all(is_printable) { Ok(Self(text.into())) } else { Err(NameError::Event) }
    }

    /// Whether an event of this name may be published to `channel`.
    ///
    /// # Errors
    /// [`NameError::OwnInChat`].
    pub fn check_for(&self, channel: &ChannelName) -> Result<(), NameError> {
        let own = OWN_IN_CHAT.iter().find(|own| **own == self.as_str());
        match own.filter(|_| channel.starts_with(CHAT)) {
            Some(own) => Err(NameError::OwnInChat(own)),
            None => Ok(()),
        }
    }
}

impl Default for EventName {
    fn default() -> Self {
        // One allocation for the process: almost every message bears this name.
        static DEFAULT: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| EventName::DEFAULT.into());
        Self(DEFAULT.clone())
    }
}

impl FromStr for EventName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match OWN.iter().find(|own| **own == text) {
            Some(own) => Err(NameError::Own(own)),
            None => Self::from_log(text),
        }
    }
}

/// Whether a character shows as itself: by its general category (Unicode §4.5) no control, format or separator of lines,
/// nothing for private use, and of spaces the common one. Characters of a later Unicode than ours pass.
///
/// Format characters turn the direction of what follows or show as nothing, so that two names that look the same are not.
fn is_printable(c: char) -> bool {
    match c.general_category() {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate => false,
        GeneralCategory::SpaceSeparator => c == ' ',
        // Letters, marks and symbols by their category, and yet nothing is seen of them: grapheme joiner, fillers of
        // Hangul, inherent vowels of Khmer, blank of Braille.
        _ => !matches!(
            c,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_names() {
        for good in ["a", "chat.lobby", "A-Z_0~9", &"x".repeat(128)] {
            assert_eq!(good.parse::<ChannelName>().as_deref(), Ok(good));
        }
        for bad in ["", "a b", "ä", "a/b", "a*", "a\0", "a\n", "%41", &"x".repeat(129)] {
            assert_eq!(bad.parse::<ChannelName>(), Err(NameError::Channel), "{bad:?}");
        }
    }

    #[test]
    fn event_names() {
        for good in ["message", "chat message", "ünïcödé 时间", "e\u{301}", "👍🏽", "gaps", &"é".repeat(128), "a:b"]
        {
            assert_eq!(good.parse::<EventName>().as_deref(), Ok(good));
        }
        for bad in ["", "a\rb", "a\nb", "a\0b", "\u{7f}", "\u{85}", "a\u{2028}b", &"é".repeat(129), &"x".repeat(600)] {
            assert_eq!(bad.parse::<EventName>(), Err(NameError::Event), "{bad:?}");
        }
        let unseen = [
            '\u{202e}',
            '\u{feff}',
            '\u{200b}',
            '\u{200d}',
            '\u{2066}',
            '\u{ad}',
            '\u{61c}',
            '\u{e0041}',
            '\u{e000}',
            '\u{3164}',
            '\u{2800}',
            '\u{a0}',
            '\u{3000}',
            '\u{2029}',
        ];
        for c in unseen {
            for bad in [c.to_string(), format!("a{c}b")] {
                assert_eq!(bad.parse::<EventName>(), Err(NameError::Event), "{bad:?}");
            }
        }
        for reserved in RESERVED {
            assert_eq!(reserved.parse::<EventName>(), Err(NameError::Reserved(reserved)));
        }
    }

    /// Case 4.5: names that clients take for something else are refused; what a log holds under them is delivered.
    #[test]
    fn reserved_event_names() {
        for own in OWN {
            assert_eq!(own.parse::<EventName>(), Err(NameError::Own(own)));
            assert_eq!(EventName::from_log(own).as_deref(), Ok(own));
        }
        let (room, other): (ChannelName, ChannelName) = ("chat.lobby".parse().unwrap(), "chats".parse().unwrap());
        for own in ["presence", "typing"] {
            let event: EventName = own.parse().unwrap();
            assert_eq!(event.check_for(&room), Err(NameError::OwnInChat(own)));
            assert_eq!(event.check_for(&other), Ok(()));
        }
        assert_eq!(EventName::default().check_for(&room), Ok(()));
        assert_eq!(EventName::from_log("connect"), Err(NameError::Reserved("connect")));
    }
}
