package signal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// daemonSays serves one connection on loopback: first it tells, then it answers each call with its method's name.
func daemonSays(t testing.TB, tells ...string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		for _, one := range tells {
			fmt.Fprintln(conn, one)
		}
		calls := bufio.NewScanner(conn)
		for calls.Scan() {
			var call struct{ ID, Method string }
			if json.Unmarshal(calls.Bytes(), &call) != nil || call.Method == "end" {
				return
			}
			fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%q,"result":%q}`+"\n", call.ID, call.Method)
		}
	}()
	return "tcp:" + l.Addr().String()
}

// An answer stands behind what is told: it is reached however much that is, and what was told before the end is still given, in order.
func TestWhatIsToldStandsInNoCallsWay(t *testing.T) {
	var tells []string
	for i := range 20 * waiting {
		tells = append(tells, fmt.Sprintf(`{"jsonrpc":"2.0","method":"receive","params":%d}`, i), "not JSON", "{}")
	}
	tells = append(tells, `{"method":"receive","params":"`+strings.Repeat("x", maxLine)+`"}`) // passed over
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := dial(ctx, daemonSays(t, tells...))
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, method := range []string{"version", "listGroups"} {
		var got string
		if err := l.call(ctx, method, nil, &got); err != nil || got != method {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if err := l.call(ctx, "end", nil, nil); !errors.Is(err, errDown) {
		t.Errorf("got %v, want %v", err, errDown)
	}
	for i := range 20 * waiting {
		raw, err := l.next(ctx)
		if err != nil || string(raw) != fmt.Sprint(i) {
			t.Fatalf("got %s, %v, want %d", raw, err, i)
		}
	}
	if _, err := l.next(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the end is not seen: %v", err)
	}
	if err := l.call(ctx, "version", nil, nil); err == nil {
		t.Error("a connection that has ended answers")
	}
}

// Over HTTP signal-cli answers an error with status 200, and what it tells comes as events between signs of life.
func TestOverHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/events", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, ":\n\nevent:receive\ndata:{\"n\":1}\n\n:\n\nevent:receive\ndata: {\"n\":2}\n\ndata:cut{\n\n")
	})
	mux.HandleFunc("POST /api/v1/rpc", func(w http.ResponseWriter, r *http.Request) {
		var call struct{ Method string }
		_ = json.NewDecoder(r.Body).Decode(&call)
		if call.Method == "send" {
			io.WriteString(w, `{"jsonrpc":"2.0","id":"1","error":{"code":-5,"message":"+14155550123 waits"}}`)
			return
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":"1","result":%q}`, call.Method)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	l, err := dial(t.Context(), server.URL+"/")
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	var got string
	if err := l.call(t.Context(), "version", nil, &got); err != nil || got != "version" {
		t.Errorf("got %q, %v", got, err)
	}
	var refused *rpcError
	if err := l.call(t.Context(), "send", nil, nil); !errors.As(err, &refused) || refused.Code != -5 || strings.Contains(err.Error(), "+") {
		t.Errorf("got %v, want the error -5 and no number", err)
	}
	for _, want := range []string{`{"n":1}`, `{"n":2}`} {
		if raw, err := l.next(t.Context()); err != nil || string(raw) != want {
			t.Errorf("got %s, %v, want %s", raw, err, want)
		}
	}
	if _, err := l.next(t.Context()); err == nil {
		t.Error("the end is not seen")
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"unix:/run/signal-cli.sock": true, "tcp:127.0.0.1:7583": true, "http://127.0.0.1:8080": true, "https://signal.example/": true,
		"": false, "unix:": false, "tcp:127.0.0.1": false, "127.0.0.1:7583": false, "http://": false, "http://ana:word@127.0.0.1": false, "ftp://x": false,
	} {
		if got := KnownAddress(address); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}

// FuzzPipe: whatever a daemon writes, reading it ends with it, and every call gets an answer or an error.
func FuzzPipe(f *testing.F) {
	f.Add([]byte("{\"method\":\"receive\",\"params\":{}}\n{\"id\":\"1\",\"result\":7}\n"))
	f.Add([]byte("{\"id\":\"1\"}\n{\"id\":\"1\"}\n{\"id\":1,\"error\":null}\n{\"id\":\"1\",\"error\":{\"code\":\"x\"}}\nnull\n[]\n\n\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		p := newPipe(struct {
			io.Reader
			io.WriteCloser
		}{bytes.NewReader(said), nowhere{}})
		_ = p.call(t.Context(), "version", nil, nil) // answered, or the end
		for range bytes.Count(said, []byte("\n")) + 1 {
			if _, err := p.next(t.Context()); err != nil {
				return
			}
		}
		t.Error("it does not end")
	})
}

type nowhere struct{}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) Close() error                { return nil }
