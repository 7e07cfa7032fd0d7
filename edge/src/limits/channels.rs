//! Limits on channels that are read although they have no messages.
//!
//! Anyone may subscribe to names that nobody publishes to, and each new name takes memory. One client gets a share of the total, and the
//! last quarter is reserved for clients with a token, so that anonymous clients cannot keep them out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use shared::live::log::{Opener, Vacancy};

use crate::{
    aged::{Owner, Owners},
    auth::Identity,
};

/// The minimum number of new clients between two clean-ups of the table.
const LOOK_AFTER: usize = 1_024;

/// Why a channel without messages cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChannel {
    /// The total limit is reached.
    #[error(
        "this server has reached its limit of open channels (TRIDENT_MAX_CHANNELS); channels with messages can still be read"
    )]
    Total,
    /// The limit for clients without a token is reached.
    #[error(
        "clients without a token have reached their limit of open channels (TRIDENT_MAX_CHANNELS); channels with \
         messages can still be read"
    )]
    Reserved,
    /// The limit of this client is reached.
    #[error(
        "your token or address has opened {limit} channels without messages, its limit \
         (TRIDENT_MAX_CHANNELS_PER_CLIENT); those that hold messages can still be read"
    )]
    Share {
        /// The limit.
        limit: usize,
    },
}

/// The channels that clients have opened.
#[derive(Debug)]
pub(super) struct Openers {
    reserve: usize,
    most_per_client: Option<usize>,
    clients: Mutex<Clients>,
    owners: Owners,
}

#[derive(Debug, Default)]
struct Clients {
    known: HashMap<Owner, Weak<Opener>>,
    look_at: usize,
}

impl Openers {
    pub(super) fn new(most: Option<usize>, most_per_client: Option<usize>) -> Self {
        Self {
            reserve: most.unwrap_or_default() / 4,
            most_per_client,
            clients: Mutex::default(),
            owners: Owners::default(),
        }
    }

    /// The counter for channels opened by `identity`, if it may open those that `vacancy` reports as new.
    pub(super) fn open(&self, identity: &Identity, vacancy: Vacancy) -> Result<Arc<Opener>, NoChannel> {
        let Vacancy { new, left } = vacancy;
        if left.is_some_and(|left| new > left) {
            return Err(NoChannel::Total);
        }
        let is_stranger = matches!(identity, Identity::Address(_));
        if is_stranger && left.is_some_and(|left| new > left.saturating_sub(self.reserve)) {
            return Err(NoChannel::Reserved);
        }
        let opener = self.of(identity);
        match self.most_per_client {
            Some(limit) if opener.channels() + new > limit => Err(NoChannel::Share { limit }),
            _ => Ok(opener),
        }
    }

    fn of(&self, identity: &Identity) -> Arc<Opener> {
        let owner = self.owners.of(identity);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.known.get(&owner).and_then(Weak::upgrade) {
            return known;
        }
        if clients.known.len() >= clients.look_at {
            // Each remaining entry has a live reader or channel, so their limits bound the table.
            clients.known.retain(|_, opener| opener.strong_count() > 0);
            clients.look_at = 2 * clients.known.len() + LOOK_AFTER;
        }
        let opener = Arc::new(Opener::default());
        clients.known.insert(owner, Arc::downgrade(&opener));
        opener
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::{
        live::{
            log::{self, Log},
            reader::Reader,
        },
        pure::{ChannelName, Cursor, Since},
    };

    fn names(client: &str, count: usize) -> Vec<ChannelName> {
        (0..count).map(|n| format!("public.{client}.{n}").parse().unwrap()).collect()
    }

    /// Case 10.1: invented channels of anonymous clients use neither another client's share nor the reserve for tokens.
    #[test]
    fn a_client_gets_its_share_and_tokens_have_a_reserve() {
        let limits = log::Limits { channels: Some(100), ..log::Limits::default() };
        let log = Arc::new(Log::new(limits, Cursor::FIRST_ISSUED));
        let openers = Openers::new(limits.channels, Some(30));
        let open = |identity: &Identity, channels: &[ChannelName]| {
            let opener = openers.open(identity, log.vacancy(channels))?;
            Ok::<_, NoChannel>(Reader::open_for(&log, channels, Since::Now, Some(opener)))
        };
        let address = |n: u8| Identity::Address([10, 0, 0, n].into());
        let first = open(&address(1), &names("a", 30)).unwrap();
        assert_eq!(open(&address(1), &names("b", 1)).unwrap_err(), NoChannel::Share { limit: 30 });
        assert!(open(&address(1), &names("a", 30)).is_ok(), "what is there already is no more");
        let _second = open(&address(2), &names("c", 30)).unwrap();
        let _third = open(&address(3), &names("d", 15)).unwrap();
        assert_eq!(open(&address(4), &names("e", 1)).unwrap_err(), NoChannel::Reserved);
        let token = Identity::Subject("ann".into());
        let _token = open(&token, &names("f", 20)).unwrap();
        assert_eq!(open(&token, &names("g", 10)).unwrap_err(), NoChannel::Total);
        drop(first);
        assert!(open(&address(1), &names("b", 10)).is_ok(), "who has left has its share again");
    }

    #[test]
    fn clients_that_have_left_are_forgotten() {
        let openers = Openers::new(None, Some(1));
        let vacancy = Vacancy { new: 1, left: None };
        for n in 0..10_000_u32 {
            openers.open(&Identity::Address(std::net::Ipv4Addr::from(n).into()), vacancy).unwrap();
        }
        assert!(openers.clients.lock().unwrap().known.len() <= LOOK_AFTER);
    }
}
