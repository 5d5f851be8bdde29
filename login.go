package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"starling/adapters/matrix"
)

type loginCmd struct {
	User          string `help:"The bot's address; default: [matrix] user." placeholder:"@starling:example.org"`
	Homeserver    string `help:"The homeserver's address; default: [matrix] homeserver." placeholder:"URL"`
	Token         bool   `help:"Log in with an existing access token instead of a password; it is asked."`
	ResetIdentity bool   `help:"Give the account a new identity: its recovery key is lost. People see that it changed."`
	NewDevice     bool   `help:"Give up the old device: its database is lost."`
}

func (l loginCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	p := newPrompt()
	user, server := l.User, l.Homeserver
	if user == "" {
		user = cfg.Matrix.User
	}
	if server == "" {
		server = cfg.Matrix.Homeserver
	}
	if user == "" {
		if user, err = p.ask("The bot's own Matrix address (@starling:example.org): "); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(cfg.State.Dir, 0o700); err != nil {
		return fmt.Errorf("the state directory cannot be made: %w", err)
	}
	o := matrix.LoginOptions{
		StateDir: cfg.State.Dir, User: user, Homeserver: server, ResetIdentity: l.ResetIdentity, NewDevice: l.NewDevice,
		Password: func() (string, error) { return p.secret("Password of " + user + ": ") },
		Recovery: func() (string, error) { return p.secret("Recovery key of " + user + ": ") },
	}
	if l.Token {
		if o.Token, err = p.secret("Access token of " + user + ": "); err != nil {
			return err
		}
	}
	res, err := matrix.Login(ctx, o)
	if err != nil {
		return err
	}
	fmt.Printf("Logged in as %s, device %s.\n", res.UserID, res.DeviceID)
	if res.RecoveryKeyFile != "" {
		fmt.Printf("\nThe recovery key is in %s, readable by you alone.\nMove it to a safe place off this machine: it is the only way back into this identity if the state directory is lost.\n\n", res.RecoveryKeyFile)
	}
	if len(res.Ended) > 0 {
		fmt.Printf("The device that it had before is gone: %s.\n", strings.Join(res.Ended, ", "))
	}
	if len(res.Left) > 0 {
		fmt.Printf("The device that it had before could not be ended: %s. Sign it out with another client, where the account's devices are listed.\n", strings.Join(res.Left, ", "))
	}
	return askInviters(p, cfg)
}

// askInviters asks once who may invite the bot, unless the configuration says it.
func askInviters(p *prompt, cfg config) error {
	if len(cfg.Matrix.Invite) > 0 {
		return nil
	}
	answer, err := p.ask("Your own Matrix address, so that you may invite the bot (servers or anyone: [matrix] invite in the configuration): ")
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var good []string
	for _, one := range strings.Fields(answer) {
		if !mayInvite(one) {
			return fmt.Errorf("who may invite %s; run `starling matrix login` again, or set [matrix] invite", inviteRule)
		}
		good = append(good, one)
	}
	if len(good) == 0 {
		fmt.Println("Nobody may invite the bot yet: set [matrix] invite in the configuration.")
		return nil
	}
	if err := os.WriteFile(invitersFile(cfg.State.Dir), []byte(strings.Join(good, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	fmt.Printf("Now `starling run`, and invite the bot into a room as %s.\n", strings.Join(good, " or "))
	return nil
}

// prompt asks on the terminal; without one it reads a line a question from standard input.
type prompt struct {
	in       *bufio.Reader
	terminal bool
}

func newPrompt() *prompt {
	return &prompt{in: bufio.NewReader(os.Stdin), terminal: term.IsTerminal(int(os.Stdin.Fd()))}
}

func (p *prompt) ask(question string) (string, error) {
	if p.terminal {
		fmt.Print(question)
	}
	line, err := p.in.ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return line, nil
	}
	if err == nil {
		return "", nil
	}
	return "", fmt.Errorf("an answer was needed: %w", err)
}

// secret asks without showing what is typed.
func (p *prompt) secret(question string) (string, error) {
	if !p.terminal {
		return p.ask(question)
	}
	fmt.Print(question)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Println()
	return strings.TrimSpace(string(b)), err
}
