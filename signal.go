package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mdp/qrterminal/v3"
	"golang.org/x/term"

	"starling/adapters/signal"
	"starling/bot"
)

// signalConfig is what the adapter needs of the configuration.
func signalConfig(c config) signal.Config {
	s := c.Signal
	return signal.Config{Account: s.Account, Address: s.Address, Command: s.Command, Data: s.Data, StateDir: c.State.Dir, Invite: s.Invite, Trust: s.Trust}
}

// forSignal reads the configuration for a command about the account.
func (c *cli) forSignal() (signal.Config, error) {
	cfg, err := c.config()
	if err != nil {
		return signal.Config{}, err
	}
	if err := os.MkdirAll(cfg.State.Dir, 0o700); err != nil {
		return signal.Config{}, fmt.Errorf("the state directory cannot be made: %w", err)
	}
	return signalConfig(cfg), nil
}

type signalLinkCmd struct {
	Timeout time.Duration `help:"How long to wait for the phone." default:"5m"`
}

func (s signalLinkCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.forSignal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	number, err := signal.Link(ctx, cfg, func(uri string) { showLink(os.Stdout, uri, term.IsTerminal(int(os.Stdout.Fd()))) })
	if err != nil {
		return err
	}
	fmt.Printf("Linked: the account is %s.\n", number)
	if cfg.Account != number {
		fmt.Printf("Set it in the configuration:\n\n    [signal]\n    account = %q\n\n", number)
	}
	fmt.Println("Now `starling run`; then somebody whom [signal] invite allows adds the bot to a group.")
	return nil
}

// showLink shows what the phone takes: as a picture where somebody looks, and as text.
func showLink(w io.Writer, uri string, picture bool) {
	fmt.Fprint(w, "On the phone of the bot's account: Signal, Settings, Linked devices, Link new device. Then take this code:\n\n")
	if picture {
		qrterminal.GenerateHalfBlock(uri, qrterminal.L, w)
	}
	fmt.Fprintf(w, "%s\n\nWaiting for the phone …\n", uri)
}

type signalStatusCmd struct{}

func (signalStatusCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.forSignal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return lookAtSignal(ctx, os.Stdout, cfg)
}

// lookAtSignal says how the account is: as seen from the machine, and as the running bot finds it, for much shows only in what Signal
// answers to it.
func lookAtSignal(ctx context.Context, w io.Writer, cfg signal.Config) error {
	s, err := signal.Look(ctx, cfg)
	if err != nil {
		fmt.Fprintln(w, "✗ signal-cli cannot be asked:", err)
		fmt.Fprintln(w, "  Is it installed and, where [signal] address is set, running? `signal-cli --version` needs Java.")
		return errors.New("nothing goes over Signal")
	}
	fmt.Fprintf(w, "✓ signal-cli %s answers\n", s.Version)
	fmt.Fprintln(w, "  Signal's servers refuse versions that are a few months old: update it every few weeks.")
	wrong := false
	switch {
	case cfg.Account == "":
		fmt.Fprintln(w, "✗ no account is configured: set [signal] account (`starling signal link` says which)")
		wrong = true
	case !s.Linked:
		fmt.Fprintf(w, "✗ the configured account is not linked to this signal-cli (it has %d): `starling signal link`\n", s.Accounts)
		wrong = true
	default:
		fmt.Fprintf(w, "✓ the account is linked, and in %d groups\n", s.Groups)
	}
	if s.Invited > 0 {
		fmt.Fprintf(w, "! %d invitations are open; a running bot answers them\n", s.Invited)
	}
	if !s.Challenge.IsZero() {
		fmt.Fprintf(w, "✗ Signal asked for a captcha on %s: solve it at https://signalcaptchas.org/challenge/generate.html,\n  copy the address behind \"Open Signal\", and run `starling signal captcha ADDRESS`\n", s.Challenge.Format("2006-01-02 15:04"))
		wrong = true
	}
	met, err := metBy(ctx, cfg.StateDir)
	switch {
	case errors.Is(err, bot.ErrNotRunning):
		fmt.Fprintln(w, "! the bot is not running: `starling run`")
	case err != nil:
		met = []string{err.Error()}
	}
	for _, text := range met {
		fmt.Fprintln(w, "✗ the running bot:", text)
		wrong = true
	}
	if wrong {
		return errors.New("something is to be done, see above")
	}
	return nil
}

// metBy is what a running bot has met on Signal.
func metBy(ctx context.Context, dir string) (met []string, err error) {
	h, err := bot.AskHealth(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, n := range h.Networks {
		if n.Name != signal.Name || n.Report == nil {
			continue
		}
		switch r := n.Report; {
		case r.Trouble != "":
			met = append(met, r.Trouble)
		case !r.Connected:
			met = append(met, "no link to signal-cli yet: look again in a minute")
		}
		if n.Closed.After(h.Now) {
			met = append(met, "it sends again in "+span(n.Closed.Sub(h.Now)))
		}
	}
	return met, nil
}

type signalCaptchaCmd struct {
	Proof string `arg:"" help:"The address behind \"Open Signal\" (signalcaptcha://…) of https://signalcaptchas.org/challenge/generate.html."`
}

func (s signalCaptchaCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.forSignal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := signal.Prove(ctx, cfg, s.Proof); err != nil {
		return err
	}
	fmt.Println("Signal took it. What waits leaves now.")
	return nil
}
