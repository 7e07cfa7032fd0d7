//! Headers of a request that waits, in a table of their own size.
//!
//! Actix keeps a request for as long as its handler runs, and makes each request's table of headers with room for 28, which
//! is 6.7 kB. A long poll waits for half a minute with two headers or with ten, and there are thousands of them.

use actix_web::http::header::HeaderMap;

/// Moves `headers` to a smaller table if there is one that holds them.
pub(crate) fn fit(headers: &mut HeaderMap) {
    // Tables double: below half, at the least, a smaller one will do.
    if headers.len_keys() * 2 >= headers.capacity() {
        return;
    }
    let mut fitting = HeaderMap::with_capacity(headers.len_keys());
    let mut last = None;
    // A header's name comes with its first value alone.
    for (name, value) in headers.drain() {
        last = name.or(last);
        if let Some(name) = &last {
            fitting.append(name.clone(), value);
        }
    }
    *headers = fitting;
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, COOKIE, HOST, HeaderValue};

    use super::*;

    #[test]
    fn headers_are_the_same_in_less_room() {
        let mut headers = HeaderMap::with_capacity(16);
        headers.append(HOST, HeaderValue::from_static("h"));
        for cookie in ["a=1", "b=2", "c=3"] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        headers.append(ACCEPT, HeaderValue::from_static("*/*"));
        let (before, capacity) = (headers.clone(), headers.capacity());
        fit(&mut headers);
        assert!(headers.capacity() < capacity / 2, "{} of {capacity}", headers.capacity());
        assert_eq!(headers.len(), 5);
        for name in [HOST, COOKIE, ACCEPT] {
            assert!(headers.get_all(&name).eq(before.get_all(&name)), "{name}");
        }
        // A second time there is nothing to gain.
        let capacity = headers.capacity();
        fit(&mut headers);
        assert_eq!(headers.capacity(), capacity);
    }

    #[test]
    fn a_table_that_is_well_filled_stays() {
        let mut headers = HeaderMap::with_capacity(3);
        headers.append(HOST, HeaderValue::from_static("h"));
        headers.append(ACCEPT, HeaderValue::from_static("*/*"));
        let capacity = headers.capacity();
        fit(&mut headers);
        assert_eq!((headers.capacity(), headers.len()), (capacity, 2));
    }
}
