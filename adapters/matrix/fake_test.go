package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"starling/bot"
)

const (
	botID  = "@starling:example.org"
	ana    = "@ana:example.org"
	roomID = "!room:example.org"
)

// call is one request that changed something on the homeserver.
type call struct {
	Method, Path string
	Body         string
}

// news is a lock over what a test waits for.
type news struct {
	sync.Mutex
	changed chan struct{} // closed and renewed whenever something happens
}

// touch says that something happened. The lock is held by the caller.
func (n *news) touch() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// wait waits until ok holds, which looks under the lock.
func (n *news) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		n.Lock()
		done, changed := ok(), n.changed
		n.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("never came: %s", what)
		}
	}
}

// homeserver is a small one, with answers to /sync that the test writes.
type homeserver struct {
	*httptest.Server
	t testing.TB

	mu       news
	syncs    []string // answers to /sync; the token of number n is sn
	asked    []string // the since parameters
	messages map[string]string
	calls    []call
	device   json.RawMessage
	// the fallback keys that were uploaded
	fallbacks []string
	refuse    func(w http.ResponseWriter, r *http.Request) bool
}

func newHomeserver(t testing.TB) *homeserver {
	h := &homeserver{t: t, mu: news{changed: make(chan struct{})}, messages: map[string]string{}}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

// push adds an answer to /sync: a JSON object without next_batch.
func (h *homeserver) push(answer string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.syncs = append(h.syncs, answer)
	h.mu.touch()
}

// until waits for something that the server has seen.
func (h *homeserver) until(what string, ok func() bool) {
	h.t.Helper()
	h.mu.wait(h.t, what, ok)
}

// handed waits until the bot asks for what follows a token of /sync: it has stored what it was sent before.
func (h *homeserver) handed(token string) {
	h.t.Helper()
	h.until("the position moves on to "+token, func() bool { return slices.Contains(h.asked, token) })
}

// called finds a request whose path contains part. The lock is held by the caller.
func (h *homeserver) called(part string) *call {
	for i := range h.calls {
		if strings.Contains(h.calls[i].Path, part) {
			return &h.calls[i]
		}
	}
	return nil
}

// count counts such requests. The lock is held by the caller.
func (h *homeserver) count(part string) (n int) {
	for _, c := range h.calls {
		if strings.Contains(c.Path, part) {
			n++
		}
	}
	return n
}

func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	body.ReadFrom(r.Body)
	path, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/_matrix/client/v3"))
	h.mu.Lock()
	refuse := h.refuse
	h.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	switch {
	case path == "/account/whoami":
		fmt.Fprintf(w, `{"user_id":%q,"device_id":"DEV"}`, botID)
	case path == "/keys/upload":
		var up struct {
			DeviceKeys json.RawMessage `json:"device_keys"`
			Fallback   json.RawMessage `json:"fallback_keys"`
		}
		json.Unmarshal(body.Bytes(), &up)
		h.mu.Lock()
		if up.DeviceKeys != nil {
			h.device = up.DeviceKeys
		}
		if up.Fallback != nil {
			h.fallbacks = append(h.fallbacks, string(up.Fallback))
			h.mu.touch()
		}
		h.mu.Unlock()
		fmt.Fprint(w, `{"one_time_key_counts":{"signed_curve25519":50}}`)
	case path == "/keys/query":
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.device == nil {
			fmt.Fprint(w, `{"device_keys":{}}`)
			return
		}
		fmt.Fprintf(w, `{"device_keys":{%q:{"DEV":%s},%q:{}}}`, botID, h.device, ana)
	case path == "/sync":
		h.sync(w, r)
	case strings.HasSuffix(path, "/messages"):
		h.mu.Lock()
		defer h.mu.Unlock()
		answer, ok := h.messages[r.URL.Query().Get("from")]
		if !ok {
			answer = `{"chunk":[]}`
		}
		fmt.Fprint(w, answer)
	default:
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls = append(h.calls, call{r.Method, path, body.String()})
		h.mu.touch()
		fmt.Fprintf(w, `{"event_id":"$sent%d","room_id":"!new:example.org"}`, len(h.calls))
	}
}

func (h *homeserver) sync(w http.ResponseWriter, r *http.Request) {
	since := r.URL.Query().Get("since")
	n := 0
	if since != "" {
		fmt.Sscanf(since, "s%d", &n)
	}
	h.mu.Lock()
	h.asked = append(h.asked, since)
	h.mu.touch()
	for n >= len(h.syncs) {
		changed := h.mu.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		h.mu.Lock()
	}
	answer := h.syncs[n]
	h.mu.Unlock()
	fmt.Fprintf(w, `{"next_batch":"s%d",%s`, n+1, strings.TrimPrefix(strings.TrimSpace(answer), "{"))
}

// inbox is the engine's side: it keeps what it is given and can fail.
type inbox struct {
	mu        news
	tries     [][]bot.Incoming
	got       []bot.Incoming
	fail      func(try int) error
	rooms     []string
	allowance int
	unstored  []bot.Incoming
}

func newInbox() *inbox { return &inbox{mu: news{changed: make(chan struct{})}, allowance: 3} }

func (i *inbox) Deliver(_ context.Context, in ...bot.Incoming) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tries = append(i.tries, in)
	defer i.mu.touch()
	if i.fail != nil {
		if err := i.fail(len(i.tries)); err != nil {
			return err
		}
	}
	i.got = append(i.got, in...)
	return nil
}

func (i *inbox) Rooms(context.Context, string) ([]string, error) { return i.rooms, nil }

func (i *inbox) InviterAllowance(_ context.Context, _, _ string, perDay int) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.allowance--
	return i.allowance >= 0 && perDay == roomsPerDay, nil
}

func (i *inbox) Unstored(in ...bot.Incoming) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unstored = append(i.unstored, in...)
	i.mu.touch()
}

// failsOnce has the engine fail to store what it is handed next.
func (i *inbox) failsOnce() {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := len(i.tries) + 1
	i.fail = func(try int) error {
		if try == next {
			return errors.New("full")
		}
		return nil
	}
}

// wait waits for something that the engine has been told. The lock is held while ok looks.
func (i *inbox) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	i.mu.wait(t, what, ok)
}

// until waits for deliveries and gives the first for which ok holds.
func (i *inbox) until(t *testing.T, what string, ok func(in bot.Incoming) bool) (found bot.Incoming) {
	t.Helper()
	i.mu.wait(t, what, func() bool {
		n := slices.IndexFunc(i.got, ok)
		if n >= 0 {
			found = i.got[n]
		}
		return n >= 0
	})
	return found
}

func (i *inbox) texts() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var out []string
	for _, in := range i.got {
		if in.Kind == bot.KindText {
			out = append(out, in.Text)
		}
	}
	return out
}

func textIs(text string) func(bot.Incoming) bool {
	return func(in bot.Incoming) bool { return in.Text == text }
}

// account is a state directory in which the bot is logged in on a homeserver.
type account struct {
	t   testing.TB
	h   *homeserver
	dir string
	log bytes.Buffer
	cfg Config
}

func newAccount(t testing.TB, h *homeserver) *account {
	t.Helper()
	acc := &account{t: t, h: h, dir: t.TempDir()}
	st, err := openStore(t.Context(), acc.dir, true)
	if err != nil {
		t.Fatal(err)
	}
	s := session{Homeserver: h.URL, UserID: botID, DeviceID: "DEV", AccessToken: "syt_secret", Ready: true}
	if err := errors.Join(st.putSession(t.Context(), s), st.close()); err != nil {
		t.Fatal(err)
	}
	acc.cfg = Config{StateDir: acc.dir, Invite: []string{":example.org"}, Log: zerolog.New(zerolog.SyncWriter(&acc.log)).Level(zerolog.TraceLevel)}
	return acc
}

// open starts the adapter without running it.
func (acc *account) open() *Adapter {
	acc.t.Helper()
	a, err := New(acc.cfg)
	if err != nil {
		acc.t.Fatal(err)
	}
	return a
}

// alone is an adapter on its own: nothing runs, and no homeserver says anything.
func alone(t testing.TB) *Adapter {
	t.Helper()
	a := newAccount(t, newHomeserver(t)).open()
	t.Cleanup(func() { a.Close() })
	return a
}

// run starts the adapter; the function that it returns stops it again and gives Run's error.
func (acc *account) run(a *Adapter, in bot.Inbox) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, in) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
			if cerr := a.Close(); cerr != nil {
				acc.t.Error(cerr)
			}
		})
		return err
	}
	acc.t.Cleanup(func() { stop() })
	return stop
}

// running is a homeserver whose room, as settled makes it, a bot is in, and the engine behind that bot.
func running(t testing.TB, more ...string) (*homeserver, *inbox) {
	t.Helper()
	h, in := newHomeserver(t), newInbox()
	acc := newAccount(t, h)
	acc.run(acc.open(), in)
	h.push(settled(more...))
	return h, in
}

var counter struct {
	sync.Mutex
	n int
}

// ev writes an event; fields after the sender override or add.
func ev(kind, sender, content string, more ...string) string {
	counter.Lock()
	counter.n++
	n := counter.n
	counter.Unlock()
	extra := strings.Join(more, ",")
	if !strings.Contains(extra, `"event_id"`) {
		extra = strings.TrimPrefix(extra+fmt.Sprintf(`,"event_id":"$e%d"`, n), ",")
	}
	if !strings.Contains(extra, `"origin_server_ts"`) {
		extra += fmt.Sprintf(`,"origin_server_ts":%d`, time.Now().UnixMilli())
	}
	return fmt.Sprintf(`{"type":%q,"sender":%q,"content":%s,%s}`, kind, sender, content, extra)
}

func member(person, membership string, more ...string) string {
	return ev("m.room.member", person, fmt.Sprintf(`{"membership":%q,"displayname":"%s"}`, membership, strings.Trim(strings.SplitN(person, ":", 2)[0], "@")),
		append(more, fmt.Sprintf(`"state_key":%q`, person))...)
}

func text(sender, body string, more ...string) string {
	return ev("m.room.message", sender, fmt.Sprintf(`{"msgtype":"m.text","body":%q}`, body), more...)
}

func encryption() string {
	return ev("m.room.encryption", ana, `{"algorithm":"m.megolm.v1.aes-sha2"}`, `"state_key":""`)
}

// inRoom is an answer to /sync with one room's state and timeline.
func inRoom(state, timeline []string, more ...string) string {
	return fmt.Sprintf(`{"rooms":{"join":{%q:{"state":{"events":[%s]},"timeline":{"events":[%s]%s}}}}}`,
		roomID, strings.Join(state, ","), strings.Join(timeline, ","), strings.Join(append([]string{""}, more...), ","))
}

// settled is a first sync after which the bot is in the room with ana, who moderates it.
func settled(more ...string) string {
	state := append([]string{
		ev("m.room.create", ana, `{"room_version":"10"}`, `"state_key":""`),
		member(ana, "join"), member("@ben:example.org", "join"), member(botID, "join"),
		ev("m.room.power_levels", ana, `{"users":{"`+ana+`":100}}`, `"state_key":""`),
		ev("m.room.name", ana, `{"name":"Needs"}`, `"state_key":""`),
	}, more...)
	return inRoom(state, nil)
}

func token(t *testing.T, a *Adapter) string {
	t.Helper()
	s, err := a.store.syncToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (acc *account) checkLog() {
	acc.t.Helper()
	for _, secret := range []string{"@", "!", "$", "example.org", "syt_secret", "Needs"} {
		if strings.Contains(acc.log.String(), secret) {
			acc.t.Errorf("the log holds %q:\n%s", secret, acc.log.String())
		}
	}
}

func (h *homeserver) fail(code int, body string, when func(r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if !when(r) {
			return false
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
		return true
	}
}

// mended has it answer again after fail.
func (h *homeserver) mended() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = nil
}
