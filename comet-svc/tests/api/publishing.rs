//! `POST /data`.

shared::publish_suite!("/data", crate::site);
