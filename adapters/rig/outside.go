package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"starling/bot"
)

// hangFor is how long a service that hangs keeps its callers waiting.
const hangFor = 30 * time.Second

// outside stands in for what is outside of chats: a translation service, and web addresses. It is an adapter without rooms.
type outside struct {
	clock *Clock
	ready chan struct{} // closed once the engine runs

	mu         sync.Mutex
	translator string // "", off, hangs, fails
	known      map[string]translation
	pages      map[string]page
	asleep     int
}

type translation struct {
	text  string
	after time.Duration
}

type page struct {
	Type string `json:"type"`
	Data []byte `json:"data"`
}

var (
	_ bot.Adapter   = (*outside)(nil)
	_ bot.JobRunner = (*outside)(nil)
)

func newOutside(c *Clock) *outside {
	return &outside{clock: c, known: map[string]translation{}, pages: map[string]page{}}
}

func (o *outside) Name() string             { return "outside" }
func (o *outside) Abilities() bot.Abilities { return bot.Abilities{} }

func (o *outside) Run(ctx context.Context, _ bot.Inbox) error {
	close(o.ready)
	<-ctx.Done()
	return nil
}

func (o *outside) Send(context.Context, bot.Outgoing) (string, error) {
	return "", &bot.SendError{Err: errors.New("there are no rooms outside"), Permanent: true}
}

// Jobs implements bot.JobRunner: "translate" takes from, to and text and gives text; "fetch" takes url and gives type and data;
// "agreed" is what moderators said yes to in a @notice … ask, and is always done.
func (o *outside) Jobs() []string { return []string{"translate", "fetch", "agreed"} }

func (o *outside) RunJob(ctx context.Context, kind string, payload json.RawMessage) (json.RawMessage, error) {
	if kind == "agreed" {
		return json.RawMessage("{}"), nil
	}
	var ask struct{ From, To, Text, URL string }
	if err := json.Unmarshal(payload, &ask); err != nil {
		return nil, &bot.SendError{Err: err, Permanent: true}
	}
	o.mu.Lock()
	state, t, p := o.translator, o.known[pair(ask.From, ask.To, ask.Text)], o.pages[ask.URL]
	o.mu.Unlock()
	if kind == "fetch" {
		if p.Type == "" {
			return nil, &bot.SendError{Err: errors.New("nothing is served there"), Permanent: true}
		}
		return json.Marshal(p)
	}
	switch {
	case state == "off":
		return nil, errors.New("the translation service does not answer")
	case state == "fails":
		return nil, &bot.SendError{Err: errors.New("the translation service failed"), Permanent: true}
	case state == "hangs":
		if err := o.sleep(ctx, hangFor); err != nil {
			return nil, err
		}
		return nil, context.DeadlineExceeded
	case t.text == "":
		return nil, &bot.SendError{Err: errors.New("no translation is known"), Permanent: true}
	}
	if err := o.sleep(ctx, t.after); err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"text": t.text})
}

func pair(from, to, text string) string { return from + ">" + to + " " + text }

func (o *outside) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	var once sync.Once
	count := func(by int) {
		o.mu.Lock()
		o.asleep += by
		o.mu.Unlock()
		o.clock.pulse.beat()
	}
	awake := make(chan struct{})
	count(1)
	stop := o.clock.AfterFunc(d, func() { once.Do(func() { count(-1) }); close(awake) })
	select {
	case <-awake:
		return nil
	case <-ctx.Done():
		stop()
		once.Do(func() { count(-1) })
		return ctx.Err()
	}
}

// tell sets what the translation service does: words are as in the directive.
func (o *outside) tell(words []string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(words) == 1 {
		switch words[0] {
		case "off", "hangs", "fails":
			o.translator = words[0]
			return nil
		}
	}
	var t translation
	if len(words) == 6 && words[4] == "after" {
		d, err := Duration(words[5])
		if err != nil {
			return err
		}
		t.after, words = d, words[:4]
	}
	if len(words) != 4 || words[2] != "=" {
		return errors.New(`@translator takes off, hangs, fails, or es>fr "…" = "…", with after 1s if it takes its time`)
	}
	t.text = words[3]
	o.translator = ""
	o.known[words[0]+" "+words[1]] = t
	return nil
}

func (o *outside) serve(url, name string, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pages[url] = page{Type: mediaType(name), Data: data}
}

func (o *outside) sleeping() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asleep
}

// mediaType tells a media type from a file's name. The table is our own where machines differ.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".ics":
		return "text/calendar"
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".ogg":
		return "audio/ogg"
	case ".pdf":
		return "application/pdf"
	case ".txt":
		return "text/plain"
	case ".xml":
		return "application/xml"
	case ".json":
		return "application/json"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// Duration reads 90s, 10m, 24h, 7d, 1d12h.
func Duration(s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	if before, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(before)
		if err != nil {
			n = -1
		}
		days, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			rest = "0s"
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days < 0 {
		return 0, fmt.Errorf("%q is not a length of time like 90s, 10m, 24h or 7d", s)
	}
	return days + d, nil
}
