package bot

import (
	"crypto/rand"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	"starling/locales/markup"
)

// A room's moderators are not who runs the bot. What proves that somebody is, is a code that the machine shows: it is typed in the
// room that is to hear of the bot's own troubles.

const (
	codeFor   = 15 * time.Minute
	codeTries = 5
)

type operatorCode struct {
	code  string
	until time.Time
	tries int
}

// newCode makes the code that the next `/status here` must name; an older one is void.
func (e *Engine) newCode() string {
	b := make([]byte, 5)
	rand.Read(b)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.operator = operatorCode{code: crockford(b), until: e.clock.Now().Add(codeFor)}
	return e.operator.code
}

// OperatorCode is whether somebody typed the code that the machine shows. It is good once, and not for many tries.
func (t *Turn) OperatorCode(typed string) bool {
	typed = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "").Replace(strings.ToUpper(markup.Digits(typed)))
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	c := &t.e.operator
	if c.code == "" || t.now.After(c.until) || c.tries >= codeTries {
		return false
	}
	c.tries++
	if subtle.ConstantTimeCompare([]byte(c.code), []byte(typed)) != 1 {
		return false
	}
	*c = operatorCode{}
	return true
}

// Networks says how the bot's networks are.
func (t *Turn) Networks() []Network {
	t.e.out.mu.Lock()
	defer t.e.out.mu.Unlock()
	var all []Network
	for name, a := range t.e.adapters {
		n := Network{Name: name}
		if r, ok := a.(Reporter); ok {
			n.Report = new(r.Report())
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// WaitingIn counts what is to be said in a room and has not left, this turn's answer left out.
func (tx *Tx) WaitingIn(room RoomID) (n int, err error) {
	_, err = tx.One(`SELECT COUNT(*) FROM outbox WHERE room = $1 AND state = 0 AND not_before <= $2 AND kind IN ($3, $4)`,
		[]any{room, tx.now.UnixMilli(), string(OutMessage), string(OutFile)}, &n)
	return n, err
}
