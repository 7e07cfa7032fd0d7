//! Names of channels and events, which are always valid.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Maximum length of a channel name in bytes, and of an event name in characters.
pub const MAX_NAME_BYTES: usize = 128;

/// Event names that Socket.IO's clients reserve (<https://socket.io/docs/v4/emit-cheatsheet/#reserved-events>).
pub const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The event that reports a gap, over SSE and Socket.IO.
pub const GAP: &str = "gap";

/// Event names with another meaning to clients: [`GAP`], the end of a stream, and the events that an `EventSource` fires itself.
pub const OWN: [&str; 4] = [GAP, "end", "error", "open"];

/// The first character of the names of the server's own channels.
const SERVER: char = '$';
/// The last character of a pattern.
const ANY: char = '*';
/// The prefix of the channels of users.
const USER: &str = "user.";
/// The first character of the name in the channel of a user whose name is not a channel name.
const HASHED: char = '~';
/// The length in bytes of that name: the character, and a SHA-256 in base64url.
const HASHED_BYTES: usize = 1 + 43;

/// Event names that the chat sends itself, and the prefix of the channels of its rooms.
const OWN_IN_CHAT: [&str; 2] = ["presence", "typing"];
const CHAT: &str = "chat.";

/// An invalid name; the message describes valid ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a channel name.
    #[error(
        "a channel name is 1 to {MAX_NAME_BYTES} of the characters A-Z a-z 0-9 _ - . ~, and / between segments that are not empty, `.` or `..`"
    )]
    Channel,
    /// A name of the server's own channels, where a client cannot use one.
    #[error(
        "channels whose name begins with `$` belong to the server; nobody can publish to them, and no pattern matches them"
    )]
    Server,
    /// Not an event name.
    #[error(
        "an event name is 1 to {MAX_NAME_BYTES} printable characters; line ends, controls, invisible characters and spaces other \
         than U+0020 are not accepted"
    )]
    Event,
    /// An event name with a special meaning to the server or the client's platform.
    #[error(
        "the event name `{0}` is reserved for events of the server or of EventSource (gap, end, error, open); choose another"
    )]
    Own(&'static str),
    /// An event name that the chat sends itself.
    #[error(
        "the event name `{0}` is reserved on channels of the chat (`chat.*`), which sends presence and typing; choose another"
    )]
    OwnInChat(&'static str),
    /// An event name that Socket.IO's clients reserve.
    #[error(
        "the event name `{0}` is reserved by Socket.IO (connect, connect_error, disconnect, disconnecting, newListener, removeListener)"
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
    /// The name of a channel: 1 to 128 of `A-Z a-z 0-9 _ - . ~` (the characters that no URL escapes, RFC 3986 §2.3), and `/` between segments,
    /// none of which is empty, `.` or `..`, so that a name can be a path. The server's own channels begin with `$`.
    ChannelName
}

name! {
    /// The name of an event: 1 to 128 printable characters, not reserved by Socket.IO, and not in [`OWN`].
    EventName
}

impl FromStr for ChannelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let unreserved = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'~');
        let is_segment = |segment: &[u8]| !matches!(segment, b"" | b"." | b"..") && segment.iter().all(unreserved);
        let name = text.strip_prefix(SERVER).unwrap_or(text).as_bytes();
        if text.len() <= MAX_NAME_BYTES && name.split(|b| *b == b'/').all(is_segment) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Channel)
        }
    }
}

impl ChannelName {
    /// The channel of the user with this `sub`: `user.<sub>`, or `user.~` and the base64url of its SHA-256 if `sub` cannot be part of a
    /// name.
    #[must_use]
    pub fn of_user(sub: &str) -> Self {
        // A `sub` in the form of a hash is hashed, too: it would name the channel of another user.
        let is_hash = sub.starts_with(HASHED) && sub.len() == HASHED_BYTES;
        let is_plain = !is_hash && sub.parse::<Self>().is_ok();
        let name = Some(format!("{USER}{sub}")).filter(|_| is_plain).and_then(|name| name.parse().ok());
        name.unwrap_or_else(|| {
            let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(sub));
            Self(format!("{USER}{HASHED}{hash}").into())
        })
    }

    /// Whether the channel belongs to one user.
    #[must_use]
    pub fn is_user(&self) -> bool {
        self.starts_with(USER)
    }

    /// What a reader selects: a channel, or by a pattern all channels whose names begin with what is before the `*` at its end. `*` alone
    /// selects all. Only readers use patterns, and no pattern selects the server's own channels.
    ///
    /// # Errors
    /// When it is neither.
    pub fn selector(text: &str) -> Result<Self, NameError> {
        let Some(stem) = text.strip_suffix(ANY) else { return text.parse() };
        // A stem need not be a name: `orders/` is one of `orders/17`.
        let is_begin = |stem: &str| stem.parse::<Self>().is_ok() || format!("{stem}x").parse::<Self>().is_ok();
        let is_stem = !stem.starts_with(SERVER) && is_begin(stem);
        if is_stem { Ok(Self(text.into())) } else { Err(NameError::Channel) }
    }

    /// Whether this is a pattern; see [`ChannelName::selector`].
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.ends_with(ANY)
    }

    /// Whether this is a pattern that selects `channel`.
    #[must_use]
    pub fn selects(&self, channel: &Self) -> bool {
        self.strip_suffix(ANY).is_some_and(|stem| channel.starts_with(stem)) && !channel.is_server()
    }

    /// Whether the channel is one of the server's own, which only the server publishes to.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.starts_with(SERVER)
    }
}

impl EventName {
    /// The default event name, `message`, which SSE omits and Socket.IO emits as such.
    pub const DEFAULT: &'static str = "message";

    /// Whether this is the default event name.
    #[must_use]
    pub fn is_default(&self) -> bool {
        &*self.0 == Self::DEFAULT
    }

    /// The name of an event in a log. Names that were reserved later are still delivered.
    ///
    /// # Errors
    /// When it is not a name, or cannot be sent to Socket.IO's clients.
    pub fn from_log(text: &str) -> Result<Self, NameError> {
        if text == Self::DEFAULT {
            return Ok(Self::default());
        }
        if let Some(reserved) = RESERVED.iter().find(|name| **name == text) {
            return Err(NameError::Reserved(reserved));
        }
        // At most four bytes per character: the first test avoids counting a long text.
        let fits = !text.is_empty() && text.len() <= 4 * MAX_NAME_BYTES && text.chars().count() <= MAX_NAME_BYTES;
        if fits && text.chars().all(is_printable) { Ok(Self(text.into())) } else { Err(NameError::Event) }
    }

    /// Whether an event with this name may be published to `channel`.
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
        // One allocation for the process: almost every message has this name.
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

/// Whether a character is visible: by its general category (Unicode §4.5) not a control, format or separator character, not for private
/// use, and of spaces only the normal one. Characters of a later Unicode version are accepted.
///
/// Format characters change the direction of the text that follows or are invisible, so that two different names could look the same.
#[must_use]
pub fn is_printable(c: char) -> bool {
    match c.general_category() {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate => false,
        GeneralCategory::SpaceSeparator => c == ' ',
        // Letters, marks and symbols by their category that are nevertheless invisible: grapheme joiner, fillers of Hangul, inherent vowels
        // of Khmer, blank of Braille.
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
    fn channel_names_are_checked() {
        for good in ["a", "chat.lobby", "A-Z_0~9", &"x".repeat(128), "$events", "a/b", "a/b.c/...", "$a/b"] {
            assert_eq!(good.parse::<ChannelName>().as_deref(), Ok(good));
        }
        let longest = format!("${}", "x".repeat(128));
        let paths = ["/", "/a", "a/", "a//b", ".", "..", "a/.", "../a", "a/../b", "$/a", "a/$b", "a\\b"];
        let others = ["", "a b", "ä", "a*", "a\0", "a\n", "%41", &"x".repeat(129), "$", "$$a", "a$", &longest];
        for bad in paths.into_iter().chain(others) {
            assert_eq!(bad.parse::<ChannelName>(), Err(NameError::Channel), "{bad:?}");
        }
    }

    #[test]
    fn every_user_has_one_channel_of_its_own() {
        let fits = "x".repeat(123);
        for (sub, channel) in [
            ("ann", "user.ann"),
            ("a.b-c_d", "user.a.b-c_d"),
            ("org/ann", "user.org/ann"),
            (&fits, &*format!("user.{fits}")),
            // Of `printf %s … | openssl dgst -sha256 -binary | basenc --base64url`.
            ("ann@example.com", "user.~cdT1X3L6Eo37RooaOQFQfIBLdDFkiHRNdp1_SxZpZHY"),
            ("", "user.~47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"),
            ("~a", "user.~a"),
        ] {
            assert_eq!(&*ChannelName::of_user(sub), channel, "{sub:?}");
        }
        // None of these names the channel of another user.
        for sub in
            ["~47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "$events", "a b", "/ann", "a/..", &"x".repeat(124), "茶"]
        {
            let channel = ChannelName::of_user(sub);
            assert!(channel.starts_with("user.~") && channel.len() == 49, "{sub:?}: {channel}");
            assert_eq!(channel.parse(), Ok(channel.clone()));
            assert_ne!(channel, ChannelName::of_user(""));
        }
        assert!(ChannelName::of_user("ann").is_user() && !ChannelName::of_user("ann").is_server());
        let own: ChannelName = "$events".parse().unwrap();
        assert!(own.is_server() && !own.is_user());
    }

    #[test]
    fn event_names_are_checked() {
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

    /// Case 4.5: names with another meaning to clients are rejected; a log's messages under them are delivered.
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
