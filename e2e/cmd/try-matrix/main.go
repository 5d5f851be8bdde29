// Try-matrix lets anybody try Starling with a Matrix client of their own: it starts a real homeserver on this machine, with
// the bot and two demo people in it and an account for the visitor, and prints how to log in. Ctrl-C ends all of it, and
// nothing is left.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"starling/e2e/lab"
)

// preferred is the address that Matrix people expect a homeserver at.
const preferred = "127.0.0.1:8008"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "try-matrix:", err)
		os.Exit(1)
	}
}

// run sets everything up, says how to log in, and takes everything down when ctx ends.
func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "starling-try-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	fmt.Fprintln(out, "Starting a homeserver, the bot and three rooms (some seconds) …")
	server, err := lab.NewDendrite(ctx, filepath.Join(dir, "homeserver"), preferred)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(err, server.Stop()) }()

	passwords := map[string]string{}
	for _, user := range []string{"visitor", "starling", "ana", "luc"} {
		passwords[user] = strings.ToLower(rand.Text()[:12])
		if _, err := server.Register(ctx, user, passwords[user]); err != nil {
			return ended(ctx, err)
		}
	}
	bot, err := lab.NewStarling(ctx, filepath.Join(dir, "bot"), lab.BotConfig{
		URL: server.URL, User: address("starling"), Password: passwords["starling"], Invite: []string{":" + lab.ServerName}, Level: "info",
	})
	if err != nil {
		return ended(ctx, err)
	}
	if err := bot.Start(); err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(err, bot.Stop()) }()

	setup, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := play(setup, server.URL, passwords); err != nil {
		return ended(ctx, err)
	}
	fmt.Fprintf(out, welcome, server.URL, passwords["visitor"])

	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nEnding the bot and the homeserver.")
		return nil
	case <-bot.Done():
		return errors.New("the bot ended by itself")
	case <-server.Done():
		return errors.New("the homeserver ended by itself")
	}
}

// ended makes Ctrl-C while things start a quiet end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func address(user string) string { return "@" + user + ":" + lab.ServerName }

const welcome = `
Starling is ready. Log in with any Matrix client that runs on this machine:

  Homeserver  %s
  User        visitor
  Password    %s

You are in three rooms: Barcelona (Spanish, with Ana), Lille (French, with Luc) and London (English, yours). Barcelona and
Lille hear the alerts of London, London those of Barcelona.
In any of them:  !starling   says what can be done there
                 !needs      asks what is needed, step by step
In London:       !alert now: police at the social centre
                 shows where it would go; with ✅ under that it arrives in the other two, in their languages
A room that you make yourself is encrypted: invite @starling:localhost and answer what it asks.

Ctrl-C ends everything; nothing is kept.
`
