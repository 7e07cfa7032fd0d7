//! `POST /events`.

shared::publish_suite!("/events", crate::site);
