// Package lab starts the real things that the end-to-end tests play with: a Matrix homeserver (Dendrite), people with a
// real client (matrix-js-sdk with Rust crypto, in Node) and the bot's own program. Everything listens on loopback only,
// keeps its state in folders of the test, and is gone when the test is.
package lab

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// ServerName is the homeserver's name: people are called @ana:localhost.
const ServerName = "localhost"

// Waits with a deadline of their own, each far above what was measured (start 0.1-0.7 s, orderly end 0.2 s).
const (
	startGrace = 30 * time.Second
	stopGrace  = 20 * time.Second
)

// noSync is what Dendrite's databases are opened with. They outlive a killed process, which is all that is tried here, without
// waiting for the disk at each write. The question mark is escaped, else Dendrite would cut it off.
const noSync = "%3F_journal_mode=WAL&_synchronous=OFF"

const sharedSecret = "loopback-secret"

// Dendrite is one homeserver.
type Dendrite struct {
	URL string // base of the client-server API
	dir string

	process *process
}

// NewDendrite starts a homeserver with its state below dir (made where missing). It takes the address if that is free,
// else a free port of 127.0.0.1; an empty address means any.
func NewDendrite(ctx context.Context, dir, address string) (*Dendrite, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &Dendrite{dir: dir}
	if err := d.configure(ctx); err != nil {
		return nil, err
	}
	// Between our look and Dendrite's own, somebody may take the port: then try another.
	for try := 1; ; try++ {
		free, err := freeAddress(address)
		if err != nil {
			return nil, err
		}
		d.URL = "http://" + free
		if err = d.Start(ctx); err == nil {
			return d, nil
		}
		if try == 3 {
			return nil, err
		}
		address = ""
	}
}

// StartDendrite is NewDendrite for a test, on a free port; it ends with the test.
func StartDendrite(t testing.TB) *Dendrite {
	t.Helper()
	d, err := NewDendrite(context.Background(), t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the homeserver's log ends with:\n%s", lastLines(d.logFile(), 20))
		}
	})
	return d
}

// Start runs the homeserver (again, with the data it has) and returns when it answers.
func (d *Dendrite) Start(ctx context.Context) error {
	binary, err := built(".cache", "bin", "dendrite")
	if err != nil {
		return err
	}
	log, err := os.OpenFile(d.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(binary, "-config", "dendrite.yaml", "-http-bind-address", strings.TrimPrefix(d.URL, "http://"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, log, log
	d.process, err = start(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startGrace)
	defer cancel()
	if err := d.answering(ctx); err != nil {
		_ = d.Kill()
		return fmt.Errorf("dendrite did not start: %w\n%s", err, lastLines(d.logFile(), 10))
	}
	return nil
}

// answering waits until the homeserver answers.
func (d *Dendrite) answering(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.URL+"/_matrix/client/versions", nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK && !d.process.ended() {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.process.done:
			return fmt.Errorf("it ended: %v", d.process.err)
		case <-tick.C:
		}
	}
}

// Stop ends the homeserver in order.
func (d *Dendrite) Stop() error { return d.process.signal(syscall.SIGTERM, stopGrace) }

// Kill ends the homeserver as a power cut would.
func (d *Dendrite) Kill() error { return d.process.signal(syscall.SIGKILL, stopGrace) }

// Done is closed when the homeserver has ended.
func (d *Dendrite) Done() <-chan struct{} { return d.process.done }

// Register makes an account and returns its full id.
func (d *Dendrite) Register(ctx context.Context, user, password string) (id string, err error) {
	var nonce struct{ Nonce string }
	const path = "/_synapse/admin/v1/register" // shared-secret registration, as Synapse defines it
	if err := request(ctx, http.MethodGet, d.URL+path, nil, &nonce); err != nil {
		return "", err
	}
	mac := hmac.New(sha1.New, []byte(sharedSecret))
	mac.Write([]byte(strings.Join([]string{nonce.Nonce, user, password, "notadmin"}, "\x00")))
	var account struct {
		UserID string `json:"user_id"`
	}
	err = request(ctx, http.MethodPost, d.URL+path, map[string]any{
		"nonce": nonce.Nonce, "username": user, "password": password, "admin": false, "mac": hex.EncodeToString(mac.Sum(nil)),
	}, &account)
	return account.UserID, err
}

// Configure changes the homeserver's configuration, by pairs of old and new text, and starts it again.
func (d *Dendrite) Configure(ctx context.Context, pairs ...string) error {
	path := filepath.Join(d.dir, "dendrite.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if !bytes.Contains(text, []byte(pairs[i])) {
			return fmt.Errorf("dendrite.yaml holds no %q", pairs[i])
		}
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
		return err
	}
	return errors.Join(d.Stop(), d.Start(ctx))
}

// What Configure may replace.
const (
	NoServices   = "app_service_api: {}"
	NoRateLimits = "rate_limiting: {enabled: false}"
)

// request makes one JSON request.
func request(ctx context.Context, method, url string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s %s", method, req.URL.Path, res.Status, data)
	}
	return json.Unmarshal(data, out)
}

func (d *Dendrite) logFile() string { return filepath.Join(d.dir, "dendrite.log") }

// configure writes the signing key and dendrite.yaml, unless they are there.
func (d *Dendrite) configure(ctx context.Context) error {
	config := filepath.Join(d.dir, "dendrite.yaml")
	if _, err := os.Stat(config); err == nil {
		return nil
	}
	keys, err := built(".cache", "bin", "generate-keys")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, keys, "-private-key", "matrix_key.pem")
	cmd.Dir = d.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("generate-keys: %w\n%s", err, out)
	}
	var text bytes.Buffer
	if err := dendriteConfig.Execute(&text, map[string]string{"Dir": d.dir, "Name": ServerName, "Secret": sharedSecret, "SQLite": noSync, "NoServices": NoServices, "NoRateLimits": NoRateLimits}); err != nil {
		return err
	}
	return os.WriteFile(config, text.Bytes(), 0o600)
}

// freeAddress returns preferred if nobody listens there, else a free port of 127.0.0.1.
func freeAddress(preferred string) (string, error) {
	for _, address := range []string{preferred, "127.0.0.1:0"} {
		if address == "" {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		defer listener.Close()
		return listener.Addr().String(), nil
	}
	return "", errors.New("no free port on 127.0.0.1")
}

// One server that speaks to no other: no federation, no look-ups, SQLite, cheap password hashes, no rate limits.
var dendriteConfig = template.Must(template.New("").Parse(`version: 2
global:
  server_name: {{.Name}}
  private_key: "{{.Dir}}/matrix_key.pem"
  disable_federation: true
  trusted_third_party_id_servers: []
  presence: {enable_inbound: false, enable_outbound: false}
  jetstream: {in_memory: false, storage_path: "{{.Dir}}/jetstream"}
  report_stats: {enabled: false}
  server_notices: {enabled: false}
  metrics: {enabled: false}
  dns_cache: {enabled: false}
  cache: {max_size_estimated: 64mb, max_age: 1h}
client_api:
  registration_disabled: true
  registration_shared_secret: {{.Secret}}
  guests_disabled: true
  {{.NoRateLimits}}
federation_api:
  key_perspectives: []
  database: {connection_string: "file:{{.Dir}}/federationapi.db{{.SQLite}}"}
key_server: {database: {connection_string: "file:{{.Dir}}/keyserver.db{{.SQLite}}"}}
media_api:
  database: {connection_string: "file:{{.Dir}}/mediaapi.db{{.SQLite}}"}
  base_path: "{{.Dir}}/media"
  max_file_size_bytes: 10485760
  dynamic_thumbnails: false
relay_api: {database: {connection_string: "file:{{.Dir}}/relayapi.db{{.SQLite}}"}}
room_server: {default_room_version: "10", database: {connection_string: "file:{{.Dir}}/roomserver.db{{.SQLite}}"}}
sync_api: {database: {connection_string: "file:{{.Dir}}/syncapi.db{{.SQLite}}"}, search: {enabled: false}}
{{.NoServices}}
user_api:
  bcrypt_cost: 4
  account_database: {connection_string: "file:{{.Dir}}/userapi.db{{.SQLite}}"}
mscs: {mscs: [msc2836], database: {connection_string: "file:{{.Dir}}/mscs.db{{.SQLite}}"}}
logging: [{type: std, level: warn}]
`))
