<?php
// A backend in PHP: `php -S 127.0.0.1:PORT backend.php`. Calls by id are in the folder CALLS: a repeated call gets the first answer.

function answer(array $call): array
{
    if ($call["kind"] === "connect") {
        return preg_match('/(?:^|; )user=(\w+)/', $call["headers"]["cookie"] ?? "", $user) ? ["user" => $user[1]] : ["refuse" => "log in first"];
    }
    [$event, $args] = [$call["event"], $call["args"]];
    return match ($event) {
        "echo" => ["ack" => $args],
        "enter" => ["join" => [$args[0]], "ack" => [["ok" => true]]],
        "shout" => ["emit" => [["to" => ["room" => $args[0]], "event" => "heard", "args" => array_slice($args, 1)]], "ack" => [["ok" => true]]],
        default => ["ack" => [["ok" => true, "order" => $args[0], "user" => $call["socket"]["user"]]]],
    };
}

$call = json_decode(file_get_contents("php://input"), true);
$file = getenv("CALLS") . "/" . hash("sha256", $call["id"] ?? "");
if (!file_exists($file)) file_put_contents($file, json_encode(answer($call)), LOCK_EX);
header("Content-Type: application/json");
readfile($file);
