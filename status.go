package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"starling/bot"
)

type statusCmd struct {
	JSON    bool          `help:"Print it as JSON." name:"json"`
	Code    bool          `help:"Print the code with which a room asks to be told of the bot's own troubles: /status here CODE."`
	Idle    bool          `help:"Wait until nothing is under way."`
	Timeout time.Duration `help:"How long to wait." default:"30s"`
}

func (s statusCmd) Run(ctx context.Context, c *cli) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	if s.Code {
		code, err := bot.AskCode(ctx, cfg.State.Dir)
		if err != nil {
			return err
		}
		fmt.Printf("Within 15 minutes a moderator types in the room that is to be told:\n\n    /status here %s\n\n", code)
		return nil
	}
	if s.Idle {
		if _, err := bot.AskStatus(ctx, cfg.State.Dir, true); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("still busy after %s", s.Timeout)
			}
			return err
		}
	}
	h, err := bot.AskHealth(ctx, cfg.State.Dir)
	if err != nil {
		return err
	}
	if s.JSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(h)
	}
	printHealth(os.Stdout, h)
	return nil
}

// printHealth shows how a bot is, in lines that fit a phone.
func printHealth(w io.Writer, h bot.Health) {
	ago := func(t time.Time) string {
		if t.IsZero() {
			return "not yet"
		}
		return span(h.Now.Sub(t)) + " ago"
	}
	fmt.Fprintf(w, "Starling %s, up for %s\n", h.Version, span(h.Now.Sub(h.Started)))
	fmt.Fprintf(w, "  %s, %s since the start\n", counted(h.Rooms, "room"), counted(h.Errors, "error"))
	for _, n := range h.Networks {
		fmt.Fprintf(w, "%s\n", n.Name)
		if r := n.Report; r != nil {
			state := "connected"
			if !r.Connected {
				state = "NOT connected"
			}
			fmt.Fprintf(w, "  %s, heard %s, spoke %s\n", state, ago(r.Received), ago(r.Sent))
			if r.Held > 0 {
				fmt.Fprintf(w, "  %s cannot be read yet\n", counted(r.Held, "message"))
			}
		}
		fmt.Fprintf(w, "  %s since the start, %d failed\n", counted(n.Sent, "call"), n.Failed)
		if !n.Closed.IsZero() {
			fmt.Fprintf(w, "  rate limit: sends again in %s\n", span(n.Closed.Sub(h.Now)))
		}
	}
	fmt.Fprintln(w, "waiting to be said")
	for _, p := range h.Waiting {
		line := fmt.Sprintf("  %-11s %d", p.Priority, p.Rows)
		if p.Rows > 0 {
			line += ", oldest " + span(h.Now.Sub(p.Oldest))
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "  %-11s %d in thirty days\n", "set aside", h.SetAside)
	fmt.Fprintf(w, "under way\n  %d received, %s, %s\n", h.Inbox, counted(h.Sending, "call"), counted(h.Jobs, "job"))
	for _, t := range h.Troubles() {
		fmt.Fprintf(w, "! %s\n", t.Text)
	}
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// span says how long something takes, in its two largest units.
func span(d time.Duration) string {
	d = max(d, 0)
	for _, u := range []struct {
		big        time.Duration
		name, less string
		small      time.Duration
	}{{24 * time.Hour, "d", "h", time.Hour}, {time.Hour, "h", "min", time.Minute}, {time.Minute, "min", "s", time.Second}} {
		if d >= u.big {
			s := fmt.Sprintf("%d %s", d/u.big, u.name)
			if rest := d % u.big / u.small; rest > 0 {
				s += fmt.Sprintf(" %d %s", rest, u.less)
			}
			return s
		}
	}
	return strings.TrimSpace(fmt.Sprintf("%d s", d/time.Second))
}
