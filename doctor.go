package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"starling/adapters/matrix"
	"starling/bot"
)

type doctorCmd struct {
	Rates bool `help:"Measure what the Matrix account may send: up to 15 events in a private room of its own. The bot must be stopped."`
}

// errIll ends the doctor after its findings.
var errIll = errors.New("something does not work, see above")

func (d doctorCmd) Run(ctx context.Context, c *cli) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	width := 80
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w >= 20 {
		width = min(w, 100)
	}
	ill := false
	say := func(all ...bot.Finding) {
		for _, f := range all {
			printFinding(os.Stdout, width, f)
			ill = ill || f.Level == bot.LevelWrong
		}
	}
	cfg, err := c.config()
	if err != nil {
		say(bot.Finding{Level: bot.LevelWrong, Text: "config: it cannot be used", Remedy: err.Error()})
		return errIll
	}
	if _, err := os.Stat(c.Config); err != nil {
		say(bot.Finding{Level: bot.LevelWarning, Text: "config: there is none, so that everything is at its default", Remedy: "Copy config.toml from the source, or name one with --config."})
	} else {
		say(bot.Finding{Text: "config: understood"})
	}
	caps, err := content(cfg)
	if err != nil {
		say(bot.Finding{Level: bot.LevelWrong, Text: "content: " + err.Error(), Remedy: "See [content] dir."})
	}
	if time.Now().Year() < 2026 {
		say(bot.Finding{Level: bot.LevelWrong, Text: "time: this machine's clock stands years in the past", Remedy: "Set it; most things fail until then."})
	}
	say(bot.LookAt(cfg.State.Dir, cfg.Database.URL, caps...)...)
	say(disk(cfg.State.Dir)...)
	rates := d.Rates
	if rates && bot.Running(cfg.State.Dir) {
		say(bot.Finding{Level: bot.LevelWarning, Text: "matrix: rates are not measured beside a running bot: its alerts would wait for it", Remedy: "Stop the bot first."})
		rates = false
	}
	if cfg.Matrix.User != "" {
		say(matrix.Check(ctx, matrix.Config{StateDir: cfg.State.Dir, Homeserver: cfg.Matrix.Homeserver, UserID: cfg.Matrix.User}, rates)...)
		if invite, err := invitations(cfg); err == nil && len(invite) == 0 {
			say(bot.Finding{Level: bot.LevelWarning, Text: "matrix: nobody may invite the bot", Remedy: "Set [matrix] invite."})
		}
	}
	if cfg.Signal.Account != "" {
		fmt.Println("signal:")
		if err := (signalStatusCmd{}).Run(ctx, c); err != nil {
			ill = true
		}
	}
	if cfg.Matrix.User == "" && cfg.Signal.Account == "" {
		say(bot.Finding{Level: bot.LevelWarning, Text: "networks: none is configured", Remedy: "Set [matrix] user or [signal] account. Without one there is the console: starling"})
	}
	if bot.Running(cfg.State.Dir) {
		h, err := bot.AskHealth(ctx, cfg.State.Dir)
		if err != nil {
			say(bot.Finding{Level: bot.LevelWarning, Text: "running: the bot does not say how it is: " + err.Error(), Remedy: "Restart it if it stays so, with the program that the doctor is part of."})
		}
		for _, t := range h.Troubles() {
			say(bot.Finding{Level: bot.LevelWarning, Text: "running: " + t.Text, Remedy: "starling status says more."})
		}
	}
	if ill {
		return errIll
	}
	return nil
}

// Below these the disk is too full: a bot that cannot write stops taking anything in.
const (
	diskWarns = 1 << 30
	diskWrong = 100 << 20
	tmpfs     = 0x01021994
)

// disk looks at what the state directory, or the folder that it will be made in, lies on.
func disk(dir string) []bot.Finding {
	var s syscall.Statfs_t
	for syscall.Statfs(dir, &s) != nil {
		up := filepath.Dir(dir)
		if up == dir {
			return nil
		}
		dir = up
	}
	return []bot.Finding{diskFinding(s)}
}

func diskFinding(s syscall.Statfs_t) bot.Finding {
	if s.Type == tmpfs {
		return bot.Finding{Level: bot.LevelWrong, Text: "disk: the state lies in memory (tmpfs) and is gone after a restart", Remedy: "Name a directory on a disk in [state] dir."}
	}
	free := uint64(s.Bavail) * uint64(s.Bsize)
	f := bot.Finding{Text: fmt.Sprintf("disk: %d MB are free", free>>20)}
	switch {
	case free < diskWrong:
		f.Level, f.Remedy = bot.LevelWrong, "Make room: a bot that cannot write takes nothing in."
	case free < diskWarns:
		f.Level, f.Remedy = bot.LevelWarning, "Make room before it runs out."
	}
	return f
}

// printFinding writes a finding as a line with its mark, and what to do about it below.
func printFinding(w io.Writer, width int, f bot.Finding) {
	mark := map[bot.Level]string{bot.LevelFine: "✓", bot.LevelWarning: "!", bot.LevelWrong: "✗"}[f.Level]
	fmt.Fprintln(w, mark+" "+wrap(f.Text, width-2, "\n  "))
	for line := range strings.Lines(f.Remedy) {
		fmt.Fprintln(w, "  "+wrap(strings.TrimSpace(line), width-2, "\n  "))
	}
}

// wrap breaks a text between words. A command to be copied stays whole: a terminal's own break does no harm to it.
func wrap(text string, width int, by string) string {
	if strings.HasPrefix(text, "curl ") {
		return text
	}
	var out strings.Builder
	used := 0
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case used == 0:
		case used+1+n > width:
			out.WriteString(by)
			used = 0
		default:
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += n
	}
	return out.String()
}
