package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"starling/adapters/signal"
	"starling/bot"
)

// Where signal-cli has nothing to complain of, what the running bot met is said all the same, with its remedy, and ends with an error.
func TestSignalStatusSaysWhatTheRunningBotMet(t *testing.T) {
	const account = "+34600123456"
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct{ Method string }
		_ = json.NewDecoder(r.Body).Decode(&call)
		result := map[string]string{"version": `{"version":"0.13.19"}`, "listAccounts": `[{"number":"` + account + `"}]`, "listGroups": `[{"isMember":true}]`}[call.Method]
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":"1","result":%s}`, result)
	}))
	defer daemon.Close()
	now := time.Date(2026, 11, 27, 7, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		bot  *bot.Network // nil: none runs
		want string
		bad  bool
	}{
		{name: "all is well", bot: &bot.Network{Name: signal.Name, Report: &bot.Report{Connected: true}}},
		{name: "another network's trouble", bot: &bot.Network{Name: "matrix", Report: &bot.Report{Trouble: "log in again"}}},
		{name: "none runs", want: "! the bot is not running"},
		{name: "too old", bot: &bot.Network{Name: signal.Name, Report: &bot.Report{Trouble: "this signal-cli is too old"}}, want: "✗ the running bot: this signal-cli is too old", bad: true},
		{name: "limited", bot: &bot.Network{Name: signal.Name, Closed: now.Add(time.Minute), Report: &bot.Report{Connected: true, Trouble: "Signal takes no messages"}},
			want: "✗ the running bot: Signal takes no messages\n✗ the running bot: it sends again in 1 min", bad: true},
		{name: "no link", bot: &bot.Network{Name: signal.Name, Report: &bot.Report{}}, want: "✗ the running bot: no link to signal-cli", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // a socket's name must be short
			if c.bot != nil {
				l, err := net.Listen("unix", "status.sock")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					defer conn.Close()
					if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
						return
					}
					_ = json.NewEncoder(conn).Encode(bot.Health{Now: now, Networks: []bot.Network{*c.bot}})
				}()
			}
			var said strings.Builder
			dir, err := filepath.Abs(".")
			if err != nil {
				t.Fatal(err)
			}
			err = lookAtSignal(t.Context(), &said, signal.Config{Account: account, Address: daemon.URL, StateDir: dir})
			if (err != nil) != c.bad || !strings.Contains(said.String(), c.want) || c.want == "" && strings.ContainsAny(said.String(), "✗!") {
				t.Errorf("%v, with\n%s, want %q", err, said.String(), c.want)
			}
		})
	}
}

// The code that the phone takes is a picture in a terminal, of its common width at most; and a line of text everywhere.
func TestTheLinkIsAPictureAndText(t *testing.T) {
	const uri = "sgnl://linkdevice?uuid=0XQdrzlrUWtqkuB9L3kJYg%3D%3D&pub_key=BZ5mBmHl0tVxSxq9%2F0p1bX3Z0cVt5q3Jt8mK4bXvGm0F"
	for _, picture := range []bool{false, true} {
		var out strings.Builder
		showLink(&out, uri, picture)
		rows := 0
		for line := range strings.Lines(out.String()) {
			if strings.ContainsAny(line, "▀▄█") {
				rows++
			}
			if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); strings.ContainsAny(line, "▀▄█") && width > 80 {
				t.Errorf("%d columns: %s", width, line)
			}
		}
		if picture != (rows > 20) || !strings.Contains(out.String(), "\n"+uri+"\n") {
			t.Errorf("as a picture %v:\n%s", picture, &out)
		}
	}
}
