#!/usr/bin/env php
<?php
// Publishes one message, with plain PHP 8 and no extension: TRIDENT_TOKEN=… ./publish.php CHANNEL JSON
declare(strict_types=1);

// These pass; whatever else is refused would be refused again.
const PASSING = [429, 502, 503, 504];

/** The server will not publish this, or could not be asked for too long. */
final class NotPublished extends RuntimeException
{
}

/**
 * Publishes $json to $channel and gives the message's id. Tries for $patience seconds. The idempotency key is the same each
 * time, so the message is published once, also when an answer got lost.
 */
function publish(string $base, string $token, string $channel, string $json, ?string $event = null, float $patience = 30): string
{
    $url = $base . '/events?' . http_build_query(array_filter(['channel' => $channel, 'event' => $event]));
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => [
            "Authorization: Bearer $token",
            'Content-Type: application/json',
            'Idempotency-Key: ' . bin2hex(random_bytes(16)),
        ],
        'content' => $json,
        'timeout' => 10,
        'ignore_errors' => true, // an answer is an answer, whatever its status
    ]]);
    $until = microtime(true) + $patience;
    for ($wait = 0.5; ; $wait = min($wait * 2, 8)) {
        [$http_response_header, $asked] = [[], 0];
        $body = @file_get_contents($url, false, $context);
        // Without a connection there are no headers.
        $status = (int) (explode(' ', $http_response_header[0] ?? '')[1] ?? 0);
        if ($status === 201) {
            return json_decode((string) $body, true, flags: JSON_THROW_ON_ERROR)['id'];
        }
        $reason = $status === 0 ? (error_get_last()['message'] ?? 'no answer') : "$status: $body";
        if ($status !== 0 && !in_array($status, PASSING, true)) {
            throw new NotPublished($reason);
        }
        foreach ($http_response_header as $header) {
            // In seconds; Trident never sends a date.
            if (preg_match('/^retry-after:\s*(\d+)\s*$/i', $header, $found)) {
                $asked = (int) $found[1];
            }
        }
        $pause = $asked + $wait * random_int(500, 1000) / 1000;
        if (microtime(true) + $pause > $until) {
            throw new NotPublished("not published after $patience s: $reason");
        }
        usleep((int) ($pause * 1_000_000));
    }
}

if (getenv('TRIDENT_TOKEN') === false || $argc !== 3) {
    fwrite(STDERR, "usage: TRIDENT_TOKEN=… publish.php CHANNEL JSON\n");
    exit(2);
}
try {
    json_decode($argv[2], flags: JSON_THROW_ON_ERROR);
} catch (JsonException $error) {
    fwrite(STDERR, "invalid JSON: {$error->getMessage()}\n");
    exit(2);
}
try {
    $base = getenv('TRIDENT_URL') ?: 'http://localhost:8080';
    echo publish($base, (string) getenv('TRIDENT_TOKEN'), $argv[1], $argv[2]), "\n";
} catch (NotPublished $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
