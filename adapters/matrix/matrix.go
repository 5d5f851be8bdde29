// Package matrix lets the bot sit in Matrix rooms. It keeps one device of one account: it receives over /sync, decrypts,
// hands everything to the engine and only then moves its position forward; it encrypts and sends what the engine asks for.
//
// mautrix gives the protocol and the cryptography. Its own sync loop and its crypto helper are not used: the loop saves the
// position before anything is handled, and the helper forgets messages whose key comes late.
package matrix

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event/cmdschema"
	"maunium.net/go/mautrix/id"

	"starling/bot"
)

// Name is the adapter's name in everything that is stored.
const Name = "matrix"

// Config says how to run the account that Login has set up.
type Config struct {
	// StateDir holds crypto.db and crypto.key, both readable by their owner only.
	StateDir string
	// Homeserver and UserID are compared with the stored login where they are not empty: a configuration that names
	// another account than the one that is logged in is refused.
	Homeserver, UserID string
	// Invite lists who may invite the bot: addresses (@ana:example.org), servers (:example.org), or * for anyone.
	Invite []string
	// Log takes what operators should know. It never holds text, names, addresses or ids.
	Log zerolog.Logger
	// Hash turns a room or person into what the log may show; nil takes a key of this process.
	Hash func(id string) string
	// HTTPClient and Now are for tests; nil takes the defaults.
	HTTPClient *http.Client
	Now        func() time.Time
}

// Adapter is the bot's device on Matrix. It implements bot.Adapter and bot.DirectOpener.
type Adapter struct {
	cfg   Config
	log   zerolog.Logger
	store *store
	cli   *mautrix.Client
	// service sends as the application service; nil where there is none, or the homeserver does not know it.
	service atomic.Pointer[mautrix.Client]
	mach    *crypto.OlmMachine
	me      id.UserID

	// Whoever uses Olm sessions reads olm (the library has its own lock for them); who throws them away writes it.
	olm   sync.RWMutex
	stale atomic.Bool // what of them is in memory could not be stored
	// devicesSeen counts how often somebody was found to have other devices than were known.
	devicesSeen atomic.Int64

	// Who reads events of rooms and hands them over holds reading: the sync, and who fills a gap. Only they use these: when one-time
	// keys were last counted and a fallback key was last uploaded, which devices were looked for when, and which fences came down
	// behind an open gap.
	reading                   sync.Mutex
	keysCounted, fallbackSent time.Time
	sought                    map[string]time.Time
	fenced                    map[id.RoomID]string

	arrivedMu sync.Mutex
	arrived   map[id.SessionID]bool // room keys that came since held events were last tried
	settled   []keyRequest          // what was asked for and need not be sent any more

	owedMu sync.Mutex
	owed   []*debt // room keys that somebody's device has not got, in the order in which they were last tried

	cameMu sync.Mutex
	came   map[id.RoomID]time.Time // where the bot has just come in, and when

	commands    []*cmdschema.EventContent // as clients are told of them; set before Run
	commandsSum string                    // tells them from others; their names follow

	noted  report // for operators
	echoMu sync.Mutex
	echoes [2]map[string]id.EventID // own events that came down last, by Outgoing.ID
	fences map[id.RoomID]*fence     // what stands behind all in a room that may have been sent already

	clock clock

	failures int // of the sync, one after the other; only the sync uses it

	ready     chan struct{} // closed after the first sync: from then on members and devices are current
	readyOnce sync.Once
	wake      chan struct{} // a room wants to be joined or left
	gapOpened chan struct{}
	fatal     chan error // the account was logged out, noticed while sending
}

var (
	_ bot.Adapter      = (*Adapter)(nil)
	_ bot.DirectOpener = (*Adapter)(nil)
	_ bot.Reporter     = (*Adapter)(nil)
	_ bot.Describer    = (*Adapter)(nil)
)

// New opens the account that is logged in in cfg.StateDir. It makes no network call. The error is ErrNotLoggedIn where
// Login has not been run.
func New(cfg Config) (*Adapter, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Hash == nil {
		cfg.Hash = processHash()
	}
	ctx := context.Background()
	st, err := openStore(ctx, cfg.StateDir, false)
	if err != nil {
		return nil, err
	}
	a, err := newAdapter(ctx, cfg, st)
	if err != nil {
		st.close()
		return nil, err
	}
	return a, nil
}

func newAdapter(ctx context.Context, cfg Config, st *store) (*Adapter, error) {
	s, err := st.session(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case s == nil || !s.Ready:
		return nil, ErrNotLoggedIn
	case cfg.UserID != "" && cfg.UserID != s.UserID.String():
		return nil, ErrOtherAccount
	case cfg.Homeserver != "" && hasScheme(cfg.Homeserver):
		s.Homeserver = cfg.Homeserver
	}
	cli, err := newClient(s.Homeserver, cfg.HTTPClient)
	if err != nil {
		return nil, err
	}
	cli.UserID, cli.DeviceID, cli.AccessToken = s.UserID, s.DeviceID, s.AccessToken
	a := &Adapter{
		cfg: cfg, log: cfg.Log, store: st, cli: cli, me: s.UserID,
		sought: map[string]time.Time{}, fenced: map[id.RoomID]string{},
		arrived:   map[id.SessionID]bool{},
		came:      map[id.RoomID]time.Time{},
		echoes:    [2]map[string]id.EventID{{}, {}},
		fences:    map[id.RoomID]*fence{},
		ready:     make(chan struct{}),
		wake:      make(chan struct{}, 1),
		gapOpened: make(chan struct{}, 1),
		fatal:     make(chan error, 1),
	}
	if a.clock.last, err = st.seenAt(ctx); err != nil {
		return nil, err
	}
	a.clock.believed = a.clock.last
	if a.mach, err = newMachine(quiet(ctx), cli, st); err != nil {
		return nil, err
	}
	a.mach.SessionReceived = a.keyArrived
	st.crypto.shared = a.owe
	return a, a.openService()
}

// Close gives the database back. Run must have returned.
func (a *Adapter) Close() error {
	a.mach.Destroy()
	return a.store.close()
}

// Name implements bot.Adapter.
func (a *Adapter) Name() string { return Name }

// Abilities implements bot.Adapter. A repeated send shows once on Synapse always, on Dendrite until the homeserver restarts.
// Homeservers answer before they show: Dendrite brings fifty events to their readers in half a second.
func (a *Adapter) Abilities() bot.Abilities {
	return bot.Abilities{Threads: true, Edits: true, Reactions: true, Deletes: true, Files: true, Idempotent: true, Shows: time.Second}
}

// newClient makes a client that never retries by itself (the engine decides) and logs nothing (its log holds ids and text).
func newClient(homeserver string, hc *http.Client) (*mautrix.Client, error) {
	u, err := url.Parse(homeserver)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("the homeserver's address does not look like https://matrix.example.org")
	}
	if hc == nil {
		tr := http.DefaultTransport.(*http.Transport).Clone()
		tr.MaxIdleConnsPerHost = 80 // all calls of the engine side by side, and the sync
		hc = &http.Client{Transport: tr}
	}
	cli, err := mautrix.NewClient(homeserver, "", "")
	if err != nil {
		return nil, err
	}
	own := *hc
	own.Transport = objects{cmp.Or(hc.Transport, http.DefaultTransport)}
	cli.Client = &own
	cli.Log = zerolog.Nop()
	cli.DefaultHTTPRetries = 0
	cli.IgnoreRateLimit = true
	cli.ResponseSizeLimit = 256 << 20
	cli.UserAgent = "Starling"
	return cli, nil
}

// objects makes an answer of null an empty one: the library and its callers would take it for an answer and fall over it.
type objects struct{ http.RoundTripper }

func (o objects) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	body := bufio.NewReader(resp.Body)
	whole := io.Reader(body)
	if start, _ := body.Peek(64); string(bytes.TrimSpace(start)) == "null" {
		whole = strings.NewReader("{}")
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{whole, resp.Body}
	return resp, nil
}

// quiet keeps the library from logging through whatever logger travels in ctx.
func quiet(ctx context.Context) context.Context { return zerolog.Nop().WithContext(ctx) }

func processHash() func(string) string {
	key := make([]byte, 32)
	rand.Read(key)
	return func(id string) string {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(id))
		return hex.EncodeToString(h.Sum(nil)[:6])
	}
}
