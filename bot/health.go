package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// Health is what operators see of a running bot: numbers, times and codes, and nothing by which a room or a person could be told.
type Health struct {
	Status
	Version  string    `json:"version"`
	Now      time.Time `json:"now"`
	Started  time.Time `json:"started"`
	SetAside int       `json:"set_aside"` // what could never be delivered, of the last thirty days
	Unstored int       `json:"unstored"`  // rooms in which something was asked that cannot be written down
	Waiting  []Waiting `json:"waiting"`   // the outbox, by priority
	Networks []Network `json:"networks"`
}

// Waiting is what of one priority waits to be said and could leave by its own time.
type Waiting struct {
	Priority string    `json:"priority"`
	Rows     int       `json:"rows"`
	Oldest   time.Time `json:"oldest,omitzero"` // since when the oldest of them waits
}

// Network is one adapter as operators see it.
type Network struct {
	Name   string    `json:"name"`
	Sent   int       `json:"sent"`            // calls that succeeded since the start
	Failed int       `json:"failed"`          // calls that did not, tries included
	Closed time.Time `json:"closed,omitzero"` // the network lets the account send again only then
	Report *Report   `json:"report,omitempty"`
}

// Trouble is one thing that keeps a bot from doing its work, as a code and a sentence.
type Trouble struct{ Code, Text string }

// What counts as trouble: an alert should be out in seconds, an answer in minutes.
const (
	alertsLate  = time.Minute
	answersLate = 10 * time.Minute
	silentLate  = 5 * time.Minute
)

// Troubles says what is wrong. Its codes are for machines and never change.
func (h Health) Troubles() (all []Trouble) {
	for _, n := range h.Networks {
		if r := n.Report; r != nil && (!r.Connected || r.Trouble != "") {
			text := r.Trouble
			if text == "" {
				text = "the network cannot be reached"
			}
			all = append(all, Trouble{n.Name + "-trouble", n.Name + ": " + text})
		}
		if wait := n.Closed.Sub(h.Now); wait > silentLate {
			all = append(all, Trouble{n.Name + "-closed", fmt.Sprintf("%s: the network lets nothing leave for another %s", n.Name, wait.Round(time.Second))})
		}
	}
	if h.Unstored > 0 {
		all = append(all, Trouble{"unstored", "what people ask cannot be written down, and waits: is the disk full, or read-only?"})
	}
	for _, w := range h.Waiting {
		late := answersLate
		if w.Priority == priorityNames[PriorityAlert] {
			late = alertsLate
		}
		if w.Rows > 0 && (w.Priority == priorityNames[PriorityAlert] || w.Priority == priorityNames[PriorityAnswer]) && h.Now.Sub(w.Oldest) > late {
			all = append(all, Trouble{w.Priority + "s-late", fmt.Sprintf("the oldest %s has waited for %s", w.Priority, h.Now.Sub(w.Oldest).Round(time.Second))})
		}
	}
	return all
}

var priorityNames = [...]string{PriorityAlert: "alert", PriorityAnswer: "answer", PriorityReminder: "reminder", PriorityDecoration: "decoration"}

// Health says how the bot is. It reads the database once.
func (e *Engine) Health(ctx context.Context) (Health, error) {
	h := Health{Status: e.Status(), Version: e.cfg.Version, Now: e.clock.Now()}
	e.mu.Lock()
	h.Started, h.Unstored = e.started, len(e.unstored)
	e.mu.Unlock()
	for _, name := range priorityNames {
		h.Waiting = append(h.Waiting, Waiting{Priority: name})
	}
	e.out.mu.Lock()
	for _, w := range e.out.byID {
		p := &h.Waiting[min(max(int(w.priority), 0), len(h.Waiting)-1)]
		since := time.UnixMilli(w.born)
		if w.notBefore.After(since) {
			since = w.notBefore
		}
		if since.After(h.Now) {
			continue
		}
		if p.Rows++; p.Oldest.IsZero() || since.Before(p.Oldest) {
			p.Oldest = since
		}
	}
	for name, a := range e.adapters {
		n := Network{Name: name, Sent: e.out.sent[name], Failed: e.out.failed[name]}
		if closed := e.out.account(name).closed; closed.After(h.Now) {
			n.Closed = closed
		}
		if r, ok := a.(Reporter); ok {
			n.Report = new(r.Report())
		}
		h.Networks = append(h.Networks, n)
	}
	e.out.mu.Unlock()
	slices.SortFunc(h.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	err := e.db.QueryRow(ctx, `SELECT COUNT(*) FROM outbox WHERE state = $1`, stateSetAside).Scan(&h.SetAside)
	return h, err
}

// AskHealth asks a running bot how it is.
func AskHealth(ctx context.Context, dir string) (h Health, err error) {
	err = ask(ctx, dir, "health", &h)
	return h, err
}

// AskCode asks a running bot for the code that `/status here` must name.
func AskCode(ctx context.Context, dir string) (code string, err error) {
	err = ask(ctx, dir, "code", &code)
	return code, err
}

// ErrNotRunning says that nothing answers on a state directory's socket.
var ErrNotRunning = errors.New("no Starling is running on this state directory")

// ask sends one word to a running bot and reads its answer.
func ask(ctx context.Context, dir, word string, answer any) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socketPath(dir))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := fmt.Fprintln(c, word); err != nil {
		return err
	}
	err = json.NewDecoder(c).Decode(answer)
	if errors.Is(err, io.EOF) {
		return errors.New("the running Starling does not answer that: it is another version, or it is about to end")
	}
	return err
}
