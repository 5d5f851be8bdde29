// Package signal lets the bot sit in Signal groups. It speaks JSON-RPC to signal-cli, which holds the account, its keys and the
// connection to Signal: either to a daemon that somebody else runs, or to one that it starts and watches over itself.
//
// Signal has no acknowledgement and no idempotency key, and signal-cli forgets a message once it has told it. What follows from
// that, and what is done about it:
//
//   - In: signal-cli receives only while somebody is attached (--receive-mode on-connection); until then messages wait at
//     Signal's servers. What it has told is handed to the engine one by one and in order, and nothing more is read from
//     signal-cli while a handful waits. A bot that ends has signal-cli end its telling first; one that is
//     killed loses what it had read and not yet stored: these few, and what stands in the socket.
//   - Out: a call whose answer was lost may have reached people. The engine says it again, marked as perhaps a repetition.
//
// People are their UUID (the account's ACI). A message is its author and the time that its author gave it; both make its id.
package signal

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"starling/bot"
)

// Name is the adapter's name in everything that is stored.
const Name = "signal"

// What a safety number that has changed means for the bot.
const (
	TrustFirstUse = "first-use" // the new one is taken, and the groups concerned are told
	TrustAsk      = "ask"       // a moderator of a group concerned decides
)

// Config says which account, and how to get at its signal-cli.
type Config struct {
	// Account is the bot's phone number, "+34600123456".
	Account string
	// Address of a daemon that somebody else runs: "unix:/run/signal-cli.sock", "tcp:127.0.0.1:7583" or "http://127.0.0.1:8080".
	Address string
	// Command starts signal-cli where there is no Address; Data is its folder ("" = signal-cli's own choice).
	Command, Data string
	// StateDir is where the socket of a daemon that the bot starts lies, and the challenge that a captcha answers.
	StateDir string
	// Invite lists who may take the bot into groups: UUIDs, phone numbers, or * for anyone.
	Invite []string
	// Trust is TrustFirstUse or TrustAsk.
	Trust string
	// Log takes what operators should know. It never holds text, names, numbers or ids.
	Log zerolog.Logger
}

// Adapter is the bot's account on Signal.
type Adapter struct {
	cfg    Config
	log    zerolog.Logger
	hash   func(string) string
	daemon *daemon
	// checkEvery and checkFor are the constants, but in tests.
	checkEvery, checkFor time.Duration

	calling sync.RWMutex // held while a call is under way, and by who waits for all of them

	mu      sync.Mutex
	inbox   bot.Inbox
	up      chan struct{} // closed while there is a link
	link    link
	me      string            // the account's own UUID
	groups  map[string]*group // those in which the bot is, by id
	rooms   map[string]bool   // what the engine knows the bot to be in, direct chats included
	timers  map[string]time.Duration
	names   map[string]string    // what people call themselves, by UUID
	wrote   map[[2]string]bool   // who has written in which group since the start: room, person
	undone  map[string]string    // invitations that could not be answered yet: group → who invited
	held    map[string][]string  // of whom signal-cli keeps what it does not tell before her new safety number is taken, and who is told
	brought map[string]time.Time // when signal-cli was last started afresh for that, by whose
	report  bot.Report
	sent    time.Time     // of the last message that left
	spoke   time.Time     // when signal-cli last told anything
	refused time.Time     // until when Signal takes nothing
	guessed time.Duration // how long that was where Signal did not say; 0 once it took something
	proof   bool          // and wants proof for that, see challengeFile
}

var (
	_ bot.Adapter      = (*Adapter)(nil)
	_ bot.DirectOpener = (*Adapter)(nil)
	_ bot.Dated        = (*Adapter)(nil)
	_ bot.JobRunner    = (*Adapter)(nil)
	_ bot.Reporter     = (*Adapter)(nil)
)

// New makes an adapter; nothing runs before Run.
func New(cfg Config) (*Adapter, error) {
	if cfg.Account == "" {
		return nil, errors.New("no Signal account is configured: set [signal] account")
	}
	a := &Adapter{cfg: cfg, log: cfg.Log, hash: processHash(), checkEvery: checkEvery, checkFor: checkFor, up: make(chan struct{}),
		groups: map[string]*group{}, rooms: map[string]bool{}, timers: map[string]time.Duration{}, names: map[string]string{}, wrote: map[[2]string]bool{}, undone: map[string]string{},
		held: map[string][]string{}, brought: map[string]time.Time{}}
	if cfg.Address == "" {
		a.daemon = newDaemon(cfg)
	}
	return a, nil
}

// Name implements bot.Adapter.
func (a *Adapter) Name() string { return Name }

// Signal's own limits: an edit is taken for a day and ten times. A text over 2,000 octets travels as a file, which signal-cli sees to
// and phones show whole.
const (
	editWindow = 24 * time.Hour
	maxEdits   = 10
)

// Abilities implements bot.Adapter. signal-cli keeps the order of calls only for those that wait for each other, which those of
// one room do; more at once than InFlight only wait in signal-cli.
func (a *Adapter) Abilities() bot.Abilities {
	return bot.Abilities{Edits: true, EditWindow: editWindow - time.Minute, MaxEdits: maxEdits, EditsLast: true, Reactions: true, Deletes: true, Files: true, InFlight: 8}
}

// Report implements bot.Reporter.
func (a *Adapter) Report() bot.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.report
}

// linked waits for a connection to signal-cli.
func (a *Adapter) linked(ctx context.Context) (link, error) {
	for {
		a.mu.Lock()
		l, up := a.link, a.up
		a.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-up:
		case <-ctx.Done():
			return nil, errDown
		}
	}
}

// call makes one call for the account.
func (a *Adapter) call(ctx context.Context, method string, params map[string]any, out any) error {
	l, err := a.linked(ctx)
	if err != nil {
		return err
	}
	return a.ask(ctx, l, method, params, out)
}

func (a *Adapter) ask(ctx context.Context, l link, method string, params map[string]any, out any) error {
	if params == nil {
		params = map[string]any{}
	}
	params["account"] = a.cfg.Account
	a.calling.RLock()
	defer a.calling.RUnlock()
	return l.call(ctx, method, params, out)
}

// Jobs implements bot.JobRunner.
func (a *Adapter) Jobs() []string { return []string{jobTrust} }

func processHash() func(string) string {
	key := make([]byte, 32)
	rand.Read(key)
	return func(id string) string {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(id))
		return hex.EncodeToString(h.Sum(nil)[:6])
	}
}
