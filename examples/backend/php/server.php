<?php
// A backend of Trident: it says who clients are and what they may read, and answers their events. Needs PHP 8.0 and no package.
//   php -S 127.0.0.1:3000 server.php   answers calls
//   php server.php                     reads the event feed

function trident(string $path, mixed $body = null): array
{
    $headers = "Content-Type: application/json\r\nAuthorization: Bearer " . getenv("TRIDENT_TOKEN");
    $http = ["header" => $headers, "timeout" => 60] + ($body === null ? [] : ["method" => "POST", "content" => json_encode($body)]);
    $answer = @file_get_contents((getenv("TRIDENT_URL") ?: "http://localhost:8080") . $path, false, stream_context_create(["http" => $http]));
    return json_decode($answer ?: "", true) ?? throw new RuntimeException("no answer from Trident");
}

function answer(array $call, int $orders): array
{
    switch ($call["kind"]) {
        case "connect":
            if (!preg_match('/(?:^|; )user=(\w+)/', $call["headers"]["cookie"] ?? "", $user)) return ["refuse" => "log in first"];
            trident("/v1/users/$user[1]/messages?event=greeting", "Hello $user[1]");
            return ["user" => $user[1], "data" => ["since" => time()]];
        case "subscribe":
            $others = array_filter($call["channels"], fn($channel) => $channel !== "orders.$call[user]" && !str_starts_with($channel, "chat."));
            return $others ? ["allow" => false, "code" => "not_yours"] : ["allow" => true];
        default:
            if ($call["event"] !== "order.create") return ["ack" => [["ok" => false, "error" => ["code" => "unknown_event"]]]];
            $order = ["number" => $orders + 1] + $call["args"][0];
            return ["ack" => [["ok" => true, "order" => $order]], "publish" => [["channel" => "orders." . $call["socket"]["user"], "event" => "created", "data" => $order]]];
    }
}

if (PHP_SAPI === "cli") {
    for ($since = ""; ; ) { // Store it with what you have handled, and a restart misses nothing.
        try {
            $batch = trident('/data?channel=$events' . $since);
            foreach ($batch["messages"] as $message) echo "feed: $message[event] " . ($message["data"]["user"] ?? "") . "\n";
            $since = "&since=$batch[cursor]";
        } catch (RuntimeException $error) {
            echo $error->getMessage(), "\n";
            sleep(1);
        }
    }
}

$body = file_get_contents("php://input");
[$id, $at, $given] = [$_SERVER["HTTP_WEBHOOK_ID"] ?? "", $_SERVER["HTTP_WEBHOOK_TIMESTAMP"] ?? 0, $_SERVER["HTTP_WEBHOOK_SIGNATURE"] ?? ""];
$key = base64_decode(preg_replace("/^whsec_/", "", getenv("TRIDENT_HOOK_SECRET")));
$signature = "v1," . base64_encode(hash_hmac("sha256", "$id.$at.$body", $key, true));
$isOurs = array_filter(explode(" ", $given), fn($one) => hash_equals($signature, $one));
if (!$isOurs || abs(time() - (int) $at) >= 300) {
    http_response_code(401);
    exit;
}
// In place of a database. By id: a repeated call gets the first answer, and no second order.
$file = fopen(getenv("ORDERS") ?: sys_get_temp_dir() . "/trident-orders.json", "c+");
flock($file, LOCK_EX);
$state = json_decode(stream_get_contents($file), true) ?? ["orders" => 0, "answered" => []];
if (!isset($state["answered"][$id])) {
    $state["answered"][$id] = answer(json_decode($body, true), $state["orders"]);
    $state["orders"] += isset($state["answered"][$id]["publish"]) ? 1 : 0;
    $state["answered"] = array_slice($state["answered"], -1000);
    ftruncate($file, 0);
    rewind($file);
    fwrite($file, json_encode($state));
}
header("Content-Type: application/json");
echo json_encode($state["answered"][$id]);
