//! Settings of webhooks.

use std::time::Duration;

use outgoing::Endpoint;
use shared::pure::{EventKinds, access::Patterns};

use super::{Fault, Sources, table, values};

/// Maximum number of patterns, of all that the connections of a process may read.
const MAX_PATTERNS: usize = 16;

/// What is posted to the application, and where.
#[derive(Clone, Debug, Default)]
pub struct HookSettings {
    /// Where to; nothing is posted without it.
    pub url: Option<Endpoint>,
    /// The kinds of events.
    pub kinds: EventKinds,
    /// The channels whose messages are posted, too.
    pub channels: Patterns,
    /// How long a batch is sent again and again before it is skipped; `None` means as long as its events are retained.
    pub give_up: Option<Duration>,
}

/// Reads them. `recorded` are the kinds that are in the feed.
pub(super) fn read(
    from: &mut Sources<'_>,
    recorded: Option<EventKinds>,
    warnings: &mut Vec<String>,
) -> Option<HookSettings> {
    let url = from.read(&table::HOOK_URL, |text| {
        (!text.is_empty()).then(|| text.parse::<Endpoint>()).transpose().map_err(|error| error.to_string())
    });
    let is_given = from.is_given(&table::HOOK_EVENTS);
    let kinds = from.read(&table::HOOK_EVENTS, |text| match text {
        "" => Ok(None),
        text => text.parse::<EventKinds>().map(Some),
    });
    let channels = from.read(&table::HOOK_CHANNELS, channels);
    let give_up = from.read(&table::HOOK_GIVE_UP, values::duration_limit);
    let (url, kinds, channels, give_up, recorded) = (url?, kinds?, channels?, give_up?, recorded?);
    if let Some(missing) = kinds.map(|kinds| kinds.without(recorded)).filter(|missing| !missing.is_empty()) {
        let message =
            format!("events of the kinds {missing} are not written: add them to {}", table::EVENTS.variable());
        from.fault(Fault::new(&table::HOOK_EVENTS, message));
        return None;
    }
    let kinds = kinds.unwrap_or(recorded);
    if url.is_some() && kinds.is_empty() && channels.is_empty() {
        let message = format!(
            "there is nothing to post: set {} or {}",
            table::EVENTS.variable(),
            table::HOOK_CHANNELS.variable()
        );
        from.fault(Fault::new(&table::HOOK_URL, message));
        return None;
    }
    if url.is_none() {
        let others = [(&table::HOOK_EVENTS, is_given), (&table::HOOK_CHANNELS, from.is_given(&table::HOOK_CHANNELS))];
        for (setting, _) in others.into_iter().filter(|(_, is_given)| *is_given) {
            let (name, url) = (setting.variable(), table::HOOK_URL.variable());
            warnings.push(format!("{name} has no effect: {url} is not set"));
        }
    }
    Some(HookSettings { url, kinds, channels, give_up })
}

fn channels(text: &str) -> Result<Patterns, String> {
    let channels = text.parse::<Patterns>().map_err(|error| error.to_string())?;
    if channels.iter().filter(|pattern| pattern.is_prefix()).count() > MAX_PATTERNS {
        return Err(format!("at most {MAX_PATTERNS} of the names may end in `*`"));
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use crate::{Settings, settings::ServiceDefaults};

    const URL: (&str, &str) = ("TRIDENT_HOOK_URL", "https://app.example/hooks");
    const SECRET: (&str, &str) = ("TRIDENT_HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    fn read(env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let service = ServiceDefaults { name: "test", about: "", version: "0", listen: "127.0.0.1:0" };
        Settings::from_sources(&service, [], env.iter().copied())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn webhooks_post_what_is_recorded() {
        let none = read(&[]).unwrap().backend.hooks;
        assert!(none.url.is_none() && none.kinds.is_empty() && none.give_up.is_none());
        let all = read(&[URL, SECRET, ("TRIDENT_EVENTS", "connected,subscribed")]).unwrap().backend.hooks;
        assert_eq!(
            (all.url.unwrap().to_string(), all.kinds.to_string()),
            (URL.1.to_owned(), "connected,subscribed".into())
        );
        let some = [
            URL,
            SECRET,
            ("TRIDENT_EVENTS", "all"),
            ("TRIDENT_HOOK_EVENTS", "connected"),
            ("TRIDENT_HOOK_CHANNELS", "orders.*,chat.lobby"),
            ("TRIDENT_HOOK_GIVE_UP", "1h"),
        ];
        let some = read(&some).unwrap().backend.hooks;
        assert_eq!(
            (some.kinds.to_string(), some.channels.to_string()),
            ("connected".into(), "orders.*,chat.lobby".into())
        );
        assert_eq!(some.give_up, Some(std::time::Duration::from_secs(3_600)));
    }

    #[test]
    fn what_cannot_be_posted_is_a_fault() {
        for (env, expected) in [
            (
                [("TRIDENT_EVENTS", "connected"), ("TRIDENT_HOOK_EVENTS", "connected,subscribed")],
                "TRIDENT_HOOK_EVENTS (--hook-events): events of the kinds subscribed are not written: add them to TRIDENT_EVENTS",
            ),
            (
                [("TRIDENT_EVENTS", "none"), ("TRIDENT_HOOK_EVENTS", "")],
                "TRIDENT_HOOK_URL (--hook-url): there is nothing to post: set TRIDENT_EVENTS or TRIDENT_HOOK_CHANNELS",
            ),
            (
                [("TRIDENT_EVENTS", "all"), ("TRIDENT_HOOK_CHANNELS", "$events")],
                "TRIDENT_HOOK_CHANNELS (--hook-channels): invalid pattern `$events`",
            ),
            (
                [("TRIDENT_EVENTS", "all"), ("TRIDENT_HOOK_CHANNELS", &["a*"; 17].join(","))],
                "TRIDENT_HOOK_CHANNELS (--hook-channels): at most 16 of the names may end in `*`",
            ),
        ] {
            let faults = read(&[&[URL, SECRET], &env[..]].concat()).unwrap_err();
            assert!(faults.len() == 1 && faults[0].starts_with(expected), "{faults:?}");
        }
        let idle = read(&[("TRIDENT_HOOK_CHANNELS", "a")]).unwrap();
        assert_eq!(idle.warnings, ["TRIDENT_HOOK_CHANNELS has no effect: TRIDENT_HOOK_URL is not set"]);
    }
}
