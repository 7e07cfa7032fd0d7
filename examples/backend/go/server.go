// A backend of Trident: it says who clients are and what they may read, answers their events, and reads the event feed. Needs Go 1.18 and no package.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

type object = map[string]any

var (
	url      = env("TRIDENT_URL", "http://localhost:8080")
	key, _   = base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("TRIDENT_HOOK_SECRET"), "whsec_"))
	cookie   = regexp.MustCompile(`(?:^|; )user=(\w+)`)
	mutex    sync.Mutex
	answered = map[string]object{} // By id: a repeated call gets the first answer, and no second order.
	orders   int
)

type call struct {
	Id, Kind, User, Event string
	Headers               map[string]string
	Channels              []string
	Args                  []object
	Socket                struct{ User string }
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func trident(method, path string, body, answer any) error {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	request, _ := http.NewRequest(method, url+path, bytes.NewReader(text))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TRIDENT_TOKEN"))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return fmt.Errorf("Trident answered %s", response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

func answer(c call) object {
	switch c.Kind {
	case "connect":
		user := cookie.FindStringSubmatch(c.Headers["cookie"])
		if user == nil {
			return object{"refuse": "log in first"}
		}
		if err := trident("POST", "/v1/users/"+user[1]+"/messages?event=greeting", "Hello "+user[1], &object{}); err != nil {
			fmt.Println(err)
		}
		return object{"user": user[1], "data": object{"since": time.Now()}}
	case "subscribe":
		for _, channel := range c.Channels {
			if channel != "orders."+c.User && !strings.HasPrefix(channel, "chat.") {
				return object{"allow": false, "code": "not_yours"}
			}
		}
		return object{"allow": true}
	}
	if c.Event != "order.create" {
		return object{"ack": []any{object{"ok": false, "error": object{"code": "unknown_event"}}}}
	}
	orders++
	order := object{"number": orders}
	for name, value := range c.Args[0] {
		order[name] = value
	}
	created := object{"channel": "orders." + c.Socket.User, "event": "created", "data": order}
	return object{"ack": []any{object{"ok": true, "order": order}}, "publish": []any{created}}
}

func isSigned(header http.Header, body []byte) bool {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", header.Get("webhook-id"), header.Get("webhook-timestamp"), body)
	signature := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	at, _ := strconv.ParseFloat(header.Get("webhook-timestamp"), 64)
	for _, one := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(one), []byte(signature)) {
			return math.Abs(float64(time.Now().Unix())-at) < 300
		}
	}
	return false
}

func handle(response http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	var c call
	if !isSigned(request.Header, body) {
		response.WriteHeader(http.StatusUnauthorized)
		return
	} else if err := json.Unmarshal(body, &c); err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	mutex.Lock()
	defer mutex.Unlock()
	if answered[c.Id] == nil {
		answered[c.Id] = answer(c)
		time.AfterFunc(time.Minute, func() {
			mutex.Lock()
			defer mutex.Unlock()
			delete(answered, c.Id)
		})
	}
	response.Header().Set("Content-Type", "application/json")
	json.NewEncoder(response).Encode(answered[c.Id])
}

func readFeed() {
	for since := ""; ; { // Store it with what you have handled, and a restart misses nothing.
		var batch struct {
			Cursor   string
			Messages []struct {
				Event string
				Data  struct{ User string }
			}
		}
		if err := trident("GET", "/data?channel=$events"+since, nil, &batch); err != nil {
			fmt.Println(err)
			time.Sleep(time.Second)
			continue
		}
		for _, message := range batch.Messages {
			fmt.Println("feed:", message.Event, message.Data.User)
		}
		since = "&since=" + batch.Cursor
	}
}

func main() {
	port := env("PORT", "3000")
	http.HandleFunc("/", handle)
	go readFeed()
	fmt.Println("listening on", port)
	fmt.Println(http.ListenAndServe("127.0.0.1:"+port, nil))
}
