//! The lines that processes send each other.

/// What processes send each other: a line, and after it what was asked or answered.
pub(super) enum Notice<'a> {
    /// A process that has just connected. The others say that they are here.
    Hello(&'a str),
    Here(&'a str),
    Bye(&'a str),
    Ask(&'a str, u64),
    Answer(&'a str, u64),
}

impl<'a> Notice<'a> {
    /// Parses a line; `None` if it is none of these.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split(' ');
        let (verb, name) = (words.next()?, words.next().filter(|name| !name.is_empty())?);
        let mut number = || words.next()?.parse().ok();
        Some(match verb {
            "hello" => Self::Hello(name),
            "here" => Self::Here(name),
            "bye" => Self::Bye(name),
            "ask" => Self::Ask(name, number()?),
            "answer" => Self::Answer(name, number()?),
            _ => return None,
        })
    }
}
