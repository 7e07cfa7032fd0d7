// What others do to nginx.conf, knowing no better.

/** Compression without a flush for each piece: the usual way in which streams are held back. */
const BUFFERED = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; gzip_min_length 0; gzip_types text/event-stream application/x-ndjson;";
export const buffered = (text) => text.replace("gzip off;", "").replaceAll("proxy_buffering off;", BUFFERED);
export const bufferedEvents = (text) => text.replace("gzip off;", "").replace(/(location = \/events \{[^]*?)proxy_buffering off;/, `$1${BUFFERED}`);
export const withoutUpgrades = (text) => text.replace("proxy_set_header Upgrade $upgrade_to;", "proxy_set_header Upgrade '';");
