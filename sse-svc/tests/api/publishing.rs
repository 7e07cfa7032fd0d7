//! `POST /events`.

edge::publish_suite!("/events", crate::site);
