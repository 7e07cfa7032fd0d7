//! Settings of the application's side: what backends and clients may learn about each other, and what is sent to the application.

use std::str::FromStr;

use outgoing::SigningSecret;
use shared::pure::{EventKinds, Publisher, access::Patterns};

use super::{
    CallSettings, HookSettings, Memory, TraceSettings, calls, hooks, memory,
    sources::Sources,
    table, traces,
    values::{self, shown},
};

/// The settings of the application's side.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// Which readers get the user of a message's publisher.
    pub show_user: ShowUser,
    /// Requests for `/v1` per second of one token.
    pub api_rate: Option<u32>,
    /// What is written to `$events`.
    pub events: EventSettings,
    /// Whether the namespace `/` is the chat.
    pub chat: bool,
    /// The secrets that sign requests to the application; two while one replaces the other.
    pub hook_secrets: Vec<SigningSecret>,
    /// What the application is asked.
    pub calls: CallSettings,
    /// What is posted to the application.
    pub hooks: HookSettings,
    /// Where traces are sent.
    pub traces: TraceSettings,
    /// Warnings of settings without an effect.
    pub(super) warnings: Vec<String>,
}

/// A warning if a public pattern has no effect.
pub(super) fn without_effect(public: &Patterns) -> Option<String> {
    let all = public.to_string();
    let pattern = all.split(',').find(|pattern| pattern.starts_with("user."))?;
    Some(format!("`{pattern}` in TRIDENT_PUBLIC has no effect: only the user may read `user.<sub>`"))
}

/// The settings of the event feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventSettings {
    /// The kinds of events that are written.
    pub kinds: EventKinds,
    /// Bytes of memory for them.
    pub bytes: Option<usize>,
    /// Events per second of one process.
    pub rate: Option<u32>,
}

impl EventSettings {
    /// Bytes on disk that events may take in addition to messages.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.bytes.filter(|_| !self.kinds.is_empty()).unwrap_or_default() as u64
    }
}

/// Reads them.
pub(super) fn read(from: &mut Sources<'_>, machine: Option<Memory>) -> Option<BackendSettings> {
    let show_user = from.read(&table::SHOW_USER, str::parse);
    let api_rate = from.read(&table::API_RATE, values::rate);
    let chat = from.read(&table::CHAT, values::on_off);
    let hook_secrets = from.read(&table::HOOK_SECRET, hook_secrets);
    let kinds = from.read(&table::EVENTS, str::parse);
    let bytes = from.read(&table::EVENTS_BYTES, values::size_limit_or_auto);
    let bytes = bytes.map(|given| given.unwrap_or_else(|| Some(memory::events_total(machine))));
    let rate = from.read(&table::EVENTS_RATE, values::rate);
    let mut warnings = Vec::new();
    let calls = calls::read(from, &mut warnings);
    let (hook_secrets, calls) = (hook_secrets?, calls?);
    if calls.any() && hook_secrets.is_empty() {
        warnings.push(
            "calls to the backend are not signed: without TRIDENT_HOOK_SECRET it cannot distinguish them from forged requests"
                .to_owned(),
        );
    }
    let events = || Some(EventSettings { kinds: kinds?, bytes: bytes?, rate: rate? });
    let traces = traces::read(from, &mut warnings);
    let hooks = hooks::read(from, kinds, &mut warnings)?;
    if hooks.url.is_some() && hook_secrets.is_empty() {
        warnings.push(
            "webhooks are not signed: without TRIDENT_HOOK_SECRET the backend cannot distinguish them from forged requests"
                .to_owned(),
        );
    }
    let (show_user, api_rate, events, chat, traces) = (show_user?, api_rate?, events()?, chat?, traces?);
    Some(BackendSettings { show_user, api_rate, events, chat, hook_secrets, calls, hooks, traces, warnings })
}

/// The secrets of signatures, separated by commas.
fn hook_secrets(text: &str) -> Result<Vec<SigningSecret>, String> {
    let secrets = text.split(',').map(str::trim).filter(|secret| !secret.is_empty());
    let secrets: Vec<SigningSecret> =
        secrets.map(str::parse).collect::<Result<_, outgoing::InvalidSecret>>().map_err(|error| error.to_string())?;
    if secrets.len() > 2 {
        return Err("there are at most two secrets, the old one and the new one".to_owned());
    }
    Ok(secrets)
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
