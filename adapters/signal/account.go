package signal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"starling/bot"
)

// linkName is what the bot's device is called in the list on the account's phone.
const linkName = "starling"

// comesBack is how long a command waits for the signal-cli of a running bot.
const comesBack = 20 * time.Second

// reach opens a link for a command on the machine: to the daemon that is there, else to one that is started for it and receives
// nothing. done ends both. Over HTTP it does not receive either; over a socket signal-cli tells whoever is attached what comes: do not ask a
// daemon that somebody else runs while the bot is away.
func reach(ctx context.Context, cfg Config) (l link, done func(), err error) {
	if isWeb(cfg.Address) {
		l := callsOnly(cfg.Address)
		return l, l.close, nil
	}
	if cfg.Address != "" {
		if l, err = dial(ctx, cfg.Address); err != nil {
			return nil, nil, err
		}
		return l, l.close, nil
	}
	d := newDaemon(cfg)
	d.manual = true
	if l, err = dial(ctx, d.address()); err == nil { // the running bot's
		return l, l.close, nil
	}
	if _, err := bot.AskHealth(ctx, cfg.StateDir); err == nil { // a running bot may just start its signal-cli afresh
		short, cancel := context.WithTimeout(ctx, comesBack)
		defer cancel()
		if l, err := d.await(short, nil); err == nil {
			return l, l.close, nil
		}
	}
	if l, err = d.open(ctx); err != nil {
		return nil, nil, errors.Join(err, ctx.Err())
	}
	return l, func() { l.close(); d.stop() }, nil
}

// Link makes signal-cli a device of an account: show is given the code that the account's phone takes. It returns the account's
// number.
func Link(ctx context.Context, cfg Config, show func(uri string)) (number string, err error) {
	l, done, uri, err := startLink(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer done()
	show(uri)
	var linked who
	if err := l.call(ctx, "finishLink", map[string]any{"deviceLinkUri": uri, "deviceName": linkName}, &linked); err != nil {
		var e *rpcError
		if errors.As(err, &e) && strings.Contains(e.Message, "already") {
			return "", errors.New("that account is linked already: nothing to do")
		}
		return "", fmt.Errorf("the code was not taken in time, or Signal refused: run it again (%w)", err)
	}
	return linked.Number, nil
}

// startLink begins that. A running bot may just start its signal-cli afresh, as it does when the account was unlinked: the next one is asked.
func startLink(ctx context.Context, cfg Config) (l link, done func(), uri string, err error) {
	for range 2 {
		if l, done, err = reach(ctx, cfg); err != nil {
			return nil, nil, "", err
		}
		var begun struct {
			URI string `json:"deviceLinkUri"`
		}
		if err = l.call(ctx, "startLink", map[string]any{}, &begun); err == nil {
			return l, done, begun.URI, nil
		}
		done()
		if !errors.Is(err, errDown) && !errors.Is(err, errUnasked) {
			break
		}
	}
	return nil, nil, "", fmt.Errorf("signal-cli cannot begin: is Signal reachable from here? (%w)", err)
}

// State is what can be seen of an account from the machine.
type State struct {
	Version   string // signal-cli's
	Linked    bool
	Accounts  int // how many accounts that signal-cli has
	Groups    int // in which the bot is
	Invited   int // into which it is invited, unanswered
	Challenge time.Time
}

// Look finds out how the account is. The error says why signal-cli could not be asked.
func Look(ctx context.Context, cfg Config) (State, error) {
	var s State
	if info, err := os.Stat(filepath.Join(cfg.StateDir, challengeFile)); err == nil {
		s.Challenge = info.ModTime()
	}
	l, done, err := reach(ctx, cfg)
	if err != nil {
		return s, err
	}
	defer done()
	var version struct {
		Version string `json:"version"`
	}
	if err := l.call(ctx, "version", map[string]any{}, &version); err != nil {
		return s, hangs(ctx, err)
	}
	s.Version = version.Version
	var all []who
	if err := l.call(ctx, "listAccounts", map[string]any{}, &all); err != nil {
		return s, hangs(ctx, err)
	}
	s.Accounts = len(all)
	for _, w := range all {
		s.Linked = s.Linked || w.Number == cfg.Account
	}
	if !s.Linked {
		return s, nil
	}
	var groups []group
	if err := l.call(ctx, "listGroups", map[string]any{"account": cfg.Account}, &groups); err != nil {
		return s, hangs(ctx, err)
	}
	for _, g := range groups {
		if g.IsMember {
			s.Groups++
			continue
		}
		for _, p := range g.Pending {
			if p.Number == cfg.Account {
				s.Invited++
			}
		}
	}
	return s, nil
}

// Prove hands in the proof that Signal asked for: the address behind "Open Signal", or what follows "signalcaptcha://" in it.
func Prove(ctx context.Context, cfg Config, proof string) error {
	path := filepath.Join(cfg.StateDir, challengeFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("nothing to do: no proof was asked for")
	}
	if err != nil {
		return err
	}
	l, done, err := reach(ctx, cfg)
	if err != nil {
		return err
	}
	defer done()
	err = l.call(ctx, "submitRateLimitChallenge", map[string]any{"account": cfg.Account, "challenge": strings.TrimSpace(string(b)), "captcha": strings.TrimSpace(proof)}, nil)
	if err != nil {
		return fmt.Errorf("it was not taken: solve a new one and hand it in within a few minutes (%w)", err)
	}
	return os.Remove(path)
}
