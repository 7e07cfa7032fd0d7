//! Settings of what backends and clients may learn about each other.

use std::str::FromStr;

use shared::pure::Publisher;

use super::{
    sources::Sources,
    table,
    values::{self, shown},
};

/// The settings of the application's side.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// Which readers get the user of a message's publisher.
    pub show_user: ShowUser,
    /// Requests for `/v1` per second of one token.
    pub api_rate: Option<u32>,
}

/// Reads them.
pub(super) fn read(from: &mut Sources<'_>) -> Option<BackendSettings> {
    let show_user = from.read(&table::SHOW_USER, str::parse);
    let api_rate = from.read(&table::API_RATE, values::rate);
    Some(BackendSettings { show_user: show_user?, api_rate: api_rate? })
}

/// Which readers get the `user` of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShowUser {
    /// Those with a valid token.
    Tokens,
    /// All.
    All,
    /// None.
    None,
}

impl ShowUser {
    /// What a reader gets.
    #[must_use]
    pub fn to_reader(self, has_token: bool) -> Publisher {
        match self {
            Self::Tokens if has_token => Publisher::Shown,
            Self::All => Publisher::Shown,
            Self::Tokens | Self::None => Publisher::Hidden,
        }
    }
}

impl FromStr for ShowUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tokens" => Ok(Self::Tokens),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err(format!("invalid value {}: expected `tokens`, `all` or `none`", shown(text))),
        }
    }
}
