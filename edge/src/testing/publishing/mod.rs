//! The tests of publishing over HTTP. Every route that has it runs all of them, by [`publish_suite!`](crate::publish_suite).

pub mod accepted;
pub mod refused;
pub mod repeated;

use actix_web::http::Method;

use super::{Answer, Ask, Site};

/// Starts the service whose route is tested, with settings beyond the usual.
pub type Start = fn(&[(&str, &str)]) -> Site;

/// A route under test.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Starts a site that has it.
    pub start: Start,
    /// Its path.
    pub path: &'static str,
}

impl Route {
    /// A site with the usual settings.
    #[must_use]
    pub fn site(&self) -> Site {
        (self.start)(&[])
    }

    /// A `POST` by somebody who may publish everywhere, yet to be sent; the query begins with its `?`.
    #[must_use]
    pub fn post(&self, site: &Site, query: &str) -> Ask {
        self.anonymous(site, query).token(&site.token("*", ""))
    }

    /// A `POST` by nobody, yet to be sent.
    #[must_use]
    pub fn anonymous(&self, site: &Site, query: &str) -> Ask {
        site.ask(Method::POST, &format!("{}{query}", self.path))
    }
}

/// The `id` of an answer to one message, which it has to be.
fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    json["id"].as_str().unwrap().to_owned()
}

/// The `ids` of an answer to several messages, which it has to be.
fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 201, "{answer:?}");
    let json = answer.json();
    assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
    json["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// Makes a test of each function of the suite for the route at `$path`, on the sites that `$start` (a [`Start`]) gives.
#[macro_export]
macro_rules! publish_suite {
    ($path:literal, $start:expr) => {
        $crate::publish_suite! { @each $path, $start;
            accepted { json_is_kept_as_it_was_written a_text_is_a_json_string other_media_types_of_json_are_accepted each_channel_gets_a_message
                a_batch_is_added_in_order an_event_has_a_name what_was_answered_can_be_read
                a_cookie_of_a_page_of_ours_lets_publish }
            refused { without_a_key_nobody_publishes without_a_token_nobody_publishes an_invalid_token_is_rejected
                a_token_reaches_its_patterns kinds_of_body bodies_that_are_none values_that_are_refused_everywhere too_large_a_body channels_and_events
                parameters_that_are_none a_bad_line_keeps_the_whole_batch_out errors_can_be_read_by_pages
                too_many_messages_a_second other_methods the_body_of_a_refused_request_is_no_request }
            repeated { a_key_adds_once a_key_of_another_request_is_refused a_key_at_once_adds_once a_key_is_its_publishers_own keys_that_are_none }
        }
    };
    (@each $path:literal, $start:expr; $($theme:ident { $($name:ident)* })*) => {
        $($(
            #[::actix_web::test]
            async fn $name() {
                let route = $crate::testing::publishing::Route { start: $start, path: $path };
                $crate::testing::publishing::$theme::$name(route).await;
            }
        )*)*
    };
}
