package matrix

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// When the device is ended nothing may be left on the disk, and a homeserver that never answers holds nobody up.
func TestFarewellNeedsNoFilesAndEnds(t *testing.T) {
	h := newHomeserver(t)
	gone := func() func(context.Context) error {
		acc := newAccount(t, h)
		end, err := Farewell(t.Context(), acc.dir)
		if err := errors.Join(err, os.RemoveAll(acc.dir)); err != nil || end == nil {
			t.Fatal(end == nil, err)
		}
		return end
	}
	if err := gone()(t.Context()); err != nil {
		t.Error(err)
	}
	h.mu.Lock()
	if h.called("/logout") == nil {
		t.Error("the homeserver was not asked")
	}
	h.mu.Unlock()

	usual := http.DefaultTransport
	defer func() { http.DefaultTransport = usual }()
	var answered chan struct{}
	http.DefaultTransport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		<-answered
		return nil, errors.New("at last")
	}}
	end := gone()
	synctest.Test(t, func(t *testing.T) {
		answered = make(chan struct{})
		defer close(answered)
		began := time.Now()
		if err := end(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
