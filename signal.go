package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdp/qrterminal/v3"
	"golang.org/x/term"

	"starling/adapters/signal"
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
	number, err := signal.Link(ctx, cfg, func(uri string) {
		fmt.Println("On the phone of the bot's account: Signal, Settings, Linked devices, Link new device. Then take this code:")
		fmt.Println()
		if term.IsTerminal(int(os.Stdout.Fd())) {
			qrterminal.GenerateHalfBlock(uri, qrterminal.L, os.Stdout)
		}
		fmt.Printf("%s\n\nWaiting for the phone …\n", uri)
	})
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

type signalStatusCmd struct{}

func (signalStatusCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.forSignal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	s, err := signal.Look(ctx, cfg)
	if err != nil {
		fmt.Println("✗ signal-cli cannot be asked:", err)
		fmt.Println("  Is it installed and, where [signal] address is set, running? `signal-cli --version` needs Java.")
		return errors.New("nothing goes over Signal")
	}
	fmt.Printf("✓ signal-cli %s answers\n", s.Version)
	fmt.Println("  Signal's servers refuse versions that are a few months old: update it every few weeks.")
	wrong := false
	switch {
	case cfg.Account == "":
		fmt.Println("✗ no account is configured: set [signal] account (`starling signal link` says which)")
		wrong = true
	case !s.Linked:
		fmt.Printf("✗ the configured account is not linked to this signal-cli (it has %d): `starling signal link`\n", s.Accounts)
		wrong = true
	default:
		fmt.Printf("✓ the account is linked, and in %d groups\n", s.Groups)
	}
	if s.Invited > 0 {
		fmt.Printf("! %d invitations are open; a running bot answers them\n", s.Invited)
	}
	if !s.Challenge.IsZero() {
		fmt.Printf("✗ Signal asked for a captcha on %s: solve it at https://signalcaptchas.org/challenge/generate.html,\n  copy the address behind \"Open Signal\", and run `starling signal captcha ADDRESS`\n", s.Challenge.Format("2006-01-02 15:04"))
		wrong = true
	}
	if wrong {
		return errors.New("something is to be done, see above")
	}
	return nil
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
	fmt.Println("Signal took it. What waits leaves within ten minutes.")
	return nil
}
