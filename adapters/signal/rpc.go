package signal

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// link is a connection to signal-cli: calls go out, and what signal-cli receives comes in.
type link interface {
	// call makes one call; calls may go side by side. out may be nil.
	call(ctx context.Context, method string, params map[string]any, out any) error
	// next gives what was received next, the params of a "receive" notification; an error ends the link.
	// What came before ctx ended is still given.
	next(ctx context.Context) (json.RawMessage, error)
	// finish asks for nothing more; what signal-cli is telling still comes, then the link ends.
	finish()
	close()
}

const (
	// maxLine bounds one line of JSON-RPC, in octets; a longer one is passed over.
	maxLine = 16 << 20
	// waiting is how many messages may stand between signal-cli and the engine. While a call is under way more are read, for
	// its answer stands behind them.
	waiting = 16
)

// rpcError is an error that signal-cli answers.
type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// Error holds no word of signal-cli's: those may name people.
func (e *rpcError) Error() string { return fmt.Sprintf("signal-cli answered error %d", e.Code) }

var (
	// errDown says that signal-cli does not answer: what it was asked for it may have done.
	errDown = errors.New("signal-cli does not answer")
	// errUnasked says that signal-cli was away before it could be asked for anything.
	errUnasked = errors.New("signal-cli is away")
)

// away is whether a call failed because signal-cli is not there.
func away(err error) bool { return errors.Is(err, errDown) || errors.Is(err, errUnasked) }

type frame struct {
	ID     string          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

// pipe is a link over a socket: one line of JSON-RPC 2.0 a message.
type pipe struct {
	rw      io.ReadWriteCloser
	writing sync.Mutex

	mu     sync.Mutex
	moved  *sync.Cond // told or calls changed
	number int
	calls  map[string]chan frame
	told   []json.RawMessage
	over   bool // nothing more is asked
	err    error
}

func newPipe(rw io.ReadWriteCloser) *pipe {
	p := &pipe{rw: rw, calls: map[string]chan frame{}}
	p.moved = sync.NewCond(&p.mu)
	go p.read()
	return p
}

func (p *pipe) read() {
	r := bufio.NewReaderSize(p.rw, 1<<16)
	for {
		line, err := readLine(r)
		if err != nil {
			p.end(err)
			return
		}
		var f frame
		if json.Unmarshal(line, &f) != nil {
			continue // too long, or none of ours
		}
		p.mu.Lock()
		switch {
		case f.Method == "receive":
			p.told = append(p.told, f.Params)
			p.moved.Broadcast()
			for p.err == nil && len(p.told) >= waiting && len(p.calls) == 0 {
				p.moved.Wait()
			}
		case f.Method == "":
			if c := p.calls[f.ID]; c != nil {
				delete(p.calls, f.ID)
				c <- f
			}
		}
		p.mu.Unlock()
	}
}

// readLine reads one line; of one that is too long it gives nothing.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

func (p *pipe) end(err error) {
	p.rw.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = fmt.Errorf("the connection to signal-cli ended: %w", err)
	}
	for id, c := range p.calls {
		delete(p.calls, id)
		close(c)
	}
	p.moved.Broadcast()
}

func (p *pipe) close() { p.end(net.ErrClosed) }

// finish closes our half: signal-cli then stops receiving, and closes its half when that is done.
func (p *pipe) finish() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	half, ok := p.rw.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		p.close()
	}
}

func (p *pipe) call(ctx context.Context, method string, params map[string]any, out any) error {
	answer := make(chan frame, 1)
	p.mu.Lock()
	if p.err != nil || p.over {
		p.mu.Unlock()
		return errUnasked
	}
	p.number++
	id := strconv.Itoa(p.number)
	p.calls[id] = answer
	p.moved.Broadcast() // the answer has to be read, whatever waits
	p.mu.Unlock()
	forget := func() {
		p.mu.Lock()
		delete(p.calls, id)
		p.mu.Unlock()
	}
	line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		forget()
		return err
	}
	p.writing.Lock()
	_, err = p.rw.Write(append(line, '\n'))
	p.writing.Unlock()
	if err != nil {
		p.end(err)
		return errDown
	}
	select {
	case f, ok := <-answer:
		if !ok {
			return errDown
		}
		return f.unpack(out)
	case <-ctx.Done():
		forget()
		return ctx.Err()
	}
}

func (f frame) unpack(out any) error {
	if f.Error != nil {
		return f.Error
	}
	if out == nil || len(f.Result) == 0 {
		return nil
	}
	return json.Unmarshal(f.Result, out)
}

func (p *pipe) next(ctx context.Context) (json.RawMessage, error) {
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.moved.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.told) == 0 && p.err == nil && ctx.Err() == nil {
		p.moved.Wait()
	}
	if len(p.told) == 0 {
		return nil, cmp.Or(ctx.Err(), p.err)
	}
	one := p.told[0]
	p.told = p.told[1:]
	p.moved.Broadcast()
	return one, nil
}

// web is a link to signal-cli's HTTP side: calls are POSTed, what is received comes as server-sent events.
type web struct {
	base   string
	client *http.Client
	events io.ReadCloser
	lines  *bufio.Reader
	ended  context.CancelFunc
}

// callsOnly is a link to signal-cli's HTTP side over which nothing is received.
func callsOnly(base string) *web {
	return &web{base: strings.TrimRight(base, "/"), client: &http.Client{}, ended: func() {}, events: http.NoBody, lines: bufio.NewReader(http.NoBody)}
}

func isWeb(address string) bool {
	return strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")
}

func newWeb(ctx context.Context, base string) (*web, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := callsOnly(base)
	w.ended = cancel
	req, err := http.NewRequestWithContext(life, http.MethodGet, w.base+"/api/v1/events", nil)
	if err != nil {
		cancel()
		return nil, err
	}
	stop := context.AfterFunc(ctx, cancel)
	resp, err := w.client.Do(req)
	stop()
	if err != nil {
		cancel()
		return nil, plainError(err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("signal-cli answered HTTP %d", resp.StatusCode)
	}
	w.events, w.lines = resp.Body, bufio.NewReaderSize(resp.Body, 1<<16)
	return w, nil
}

// plainError leaves the address out of an HTTP error.
func plainError(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return fmt.Errorf("signal-cli cannot be reached: %w", op.Err)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// finish implements link: over HTTP there is no half that could be closed.
func (w *web) finish() { w.close() }

func (w *web) close() {
	w.ended()
	w.events.Close()
}

func (w *web) call(ctx context.Context, method string, params map[string]any, out any) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": "1", "method": method, "params": params})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.base+"/api/v1/rpc", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return errUnasked
		}
		return plainError(err)
	}
	defer resp.Body.Close()
	var f frame
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLine)).Decode(&f); err != nil {
		return errDown
	}
	return f.unpack(out)
}

func (w *web) next(ctx context.Context) (json.RawMessage, error) {
	defer context.AfterFunc(ctx, w.close)()
	for {
		line, err := readLine(w.lines)
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("the connection to signal-cli ended: %w", err)
		}
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if data = bytes.TrimSpace(data); !ok || !json.Valid(data) {
			continue // the event's name, a sign of life, or too long
		}
		return data, nil
	}
}

// dial opens a link to an address.
func dial(ctx context.Context, address string) (link, error) {
	if isWeb(address) {
		return newWeb(ctx, address)
	}
	network, at, _ := strings.Cut(address, ":")
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, network, at)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // without the address
		}
		return nil, fmt.Errorf("signal-cli cannot be reached: %w", err)
	}
	return newPipe(conn), nil
}

// KnownAddress is whether an address is of a form that the adapter understands.
func KnownAddress(address string) bool {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return u.Host != "" && u.User == nil
	}
	network, at, ok := strings.Cut(address, ":")
	if !ok || at == "" {
		return false
	}
	if network == "tcp" {
		_, _, err := net.SplitHostPort(at)
		return err == nil
	}
	return network == "unix"
}
