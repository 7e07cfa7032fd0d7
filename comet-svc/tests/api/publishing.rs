//! `POST /data`.

edge::publish_suite!("/data", crate::site);
