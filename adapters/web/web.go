// Package web serves HTTP on this machine: handlers that others hand in as values, under one roof with time-outs and bounds.
// Nothing here asks who is calling, so it listens on loopback unless that is lifted in so many words.
package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Route is one thing that is served.
type Route struct {
	Pattern string // as for http.ServeMux: "GET /healthz"
	Handler http.Handler
}

// Bounds of what a caller may take up.
const (
	headerBytes  = 8 << 10
	bodyBytes    = 1 << 16
	atOnce       = 16
	readWithin   = 5 * time.Second
	answerWithin = 10 * time.Second
	idleFor      = time.Minute
)

// CheckAddress says what is wrong with an address to listen on; "" is none.
func CheckAddress(listen string, anywhere bool) error {
	if listen == "" {
		return nil
	}
	addr, err := netip.ParseAddrPort(listen)
	switch {
	case err != nil:
		return errors.New(`is an address and a port, such as "127.0.0.1:9464" or "[::1]:9464"`)
	case !addr.Addr().IsLoopback() && !anywhere:
		return errors.New("is reachable from outside this machine, and nothing asks who is calling: name a loopback address, or allow it explicitly")
	}
	return nil
}

// Serve listens until ctx ends and returns the address that it listens on.
func Serve(ctx context.Context, listen string, anywhere bool, routes ...Route) (address string, err error) {
	if err := CheckAddress(listen, anywhere); err != nil {
		return "", fmt.Errorf("the address to listen on %w", err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.Pattern, r.Handler)
	}
	server := &http.Server{
		Handler:           bounded(mux),
		ReadHeaderTimeout: readWithin, ReadTimeout: readWithin, WriteTimeout: answerWithin + readWithin, IdleTimeout: idleFor,
		MaxHeaderBytes: headerBytes,
	}
	context.AfterFunc(ctx, func() { server.Close() })
	go server.Serve(l)
	return l.Addr().String(), nil
}

// bounded lets so many in at once, turns the others away, and gives each so much time and room.
func bounded(next http.Handler) http.Handler {
	places := make(chan struct{}, atOnce)
	next = http.TimeoutHandler(next, answerWithin, "too slow\n")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, bodyBytes)
		next.ServeHTTP(w, r)
	})
}
