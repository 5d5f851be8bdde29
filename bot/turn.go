package bot

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"starling/bot/when"
	"starling/locales"
	"starling/locales/markup"
)

// MaxText is how many characters one message to the bot may have.
const MaxText = 4000

// Turn is one thing being handled: a command, an answer, a due timer. It lives inside one transaction.
type Turn struct {
	*Tx
	In     *Incoming
	Room   *Room     // what it is about
	Here   *Room     // where it was said; differs from Room in a direct chat
	Person *Person   // who said it; nil for timers
	Member *Member   // her place in Room; nil for timers and strangers
	Lang   string    // the language in which she is answered
	Time   time.Time // when it was said, dates in it count from then; when it was due, of a timer
	// Called is the language whose word called the command; "" when that is not sure.
	Called string

	cmd      *node  // the command
	thread   string // where answers go
	reply    string
	lane     string
	origin   string // the message that a record saved in this turn came from
	dialogue int64  // the dialogue that is answered, 0 outside of one
	answered RowID
	answers  RowID        // what of the bot's this is an answer to
	renewed  bool         // she said again that she means it
	refusal  []PostOption // how a refusal is posted

	vanishing *Record // kept in this turn, and for less long than it would be
}

// Moderator is whether the person moderates the room that this is about, now.
func (t *Turn) Moderator() bool {
	return t.Member != nil && t.Member.Present && t.Member.Moderator && !t.Room.Direct
}

// Zone is the time zone in which dates in this turn are read.
func (t *Turn) Zone() *time.Location {
	if t.Here.Direct && t.Person != nil && t.Person.Zone != "" {
		return location(t.Person.Zone)
	}
	return t.Room.Location()
}

// Dates says how dates in this turn are read.
func (t *Turn) Dates() when.Options {
	return when.Options{Langs: t.Langs(), Zone: t.Zone(), Now: t.Time}
}

// Langs lists the languages in which words are looked for first.
func (t *Turn) Langs() []string {
	langs := []string{t.Lang}
	for _, l := range locales.Languages() {
		if l.Code != t.Lang {
			langs = append(langs, l.Code)
		}
	}
	return langs
}

// Locales renders and looks up text.
func (t *Turn) Locales() *locales.Bundle { return t.e.cfg.Locales }

// Answer says something to who spoke, where she spoke.
func (t *Turn) Answer(msg any, opts ...PostOption) (RowID, error) {
	p := &post{msg: msg, lang: t.Lang}
	p.room, p.kind, p.priority, p.lane = t.Here.ID, OutMessage, PriorityAnswer, t.lane
	p.parcel.Thread, p.parcel.Reply, p.parcel.For = t.thread, t.reply, t.entitlement()
	if t.Person != nil {
		p.person = t.Person.ID
		if t.reply != "" {
			p.parcel.ReplyTo = t.Person.Address
		}
	}
	if t.Here.Direct {
		p.parcel.Reply, p.parcel.ReplyTo = "", ""
		p.parcel.Zone = t.Zone().String()
	}
	for _, o := range opts {
		o(p)
	}
	row, err := t.enqueue(p)
	t.answered = row
	return row, err
}

// Say tells the room that this is about, in the room itself. Where it was said in a direct chat, only the room hears, and
// the chat only when the room cannot.
func (t *Turn) Say(msg any, opts ...PostOption) (RowID, error) {
	if t.Here.ID != t.Room.ID {
		opts = append([]PostOption{Origin(t.Here.ID)}, opts...)
	}
	return t.Post(t.Room.ID, msg, opts...)
}

// Done answers with a message and gives the handler's result in one line: return t.Done(Saved{…}).
func (t *Turn) Done(msg any, opts ...PostOption) error {
	_, err := t.Answer(msg, opts...)
	return err
}

// Encrypted is whether what is said in this turn came from an encrypted room.
func (t *Turn) Encrypted() bool { return t.Here.Encrypted || t.Room.Encrypted }

// Visible is whether a record may be shown in this turn: what came from an encrypted room stays in such rooms, and with their
// people. Who is only in a room that is not encrypted does not read it in her encrypted direct chat either: such rooms are often
// open to all.
func (t *Turn) Visible(r *Record) bool { return !r.Encrypted || t.Here.Encrypted && t.Room.Encrypted }

// Commands lists the whole table of commands, parents before their sub-commands.
func (t *Turn) Commands() []Info { return t.e.Commands() }

// Command writes a command in the words of this turn's language: t.Command("needs", "show").
func (t *Turn) Command(path ...string) locales.Safe { return t.e.Spell(t.Lang, path...) }

// OnlyModerators is the refusal that names who may.
func (t *Turn) OnlyModerators() error {
	names, err := t.Moderators(t.Room.ID)
	if err != nil {
		return err
	}
	return Refuse(OnlyModerators{Names: names[:min(len(names), 5)]})
}

// Once is true the first time that it is asked for a key within two weeks: for what is said once and not every time.
func (t *Turn) Once(key string) (bool, error) {
	n, err := t.Changed(`INSERT INTO seen (id, at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, t.Hash("once", key), t.now.UnixMilli())
	return n == 1, err
}

// Job writes down work that needs the outside. It is done after this transaction, with a timeout and tried again until
// until; its result goes to topic with ref, once.
func (t *Turn) Job(kind, topic, ref string, payload any, until time.Duration) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	id := t.newID()
	var person PersonID
	if t.Person != nil {
		person = t.Person.ID
	}
	t.jobs = true
	return t.Exec(`INSERT INTO jobs (id, kind, topic, ref, room, person, payload, at, until) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)`,
		id, kind, topic, ref, t.Room.ID, person, t.Seal("jobs", "payload", id, string(body)), t.now.UnixMilli(), t.now.Add(until).UnixMilli())
}

// ConfirmByWord is whether this room wants a typed yes: reactions are clear text on Matrix, and a server could forge them.
func (r *Room) ConfirmByWord() bool { return r.Settings[SettingConfirm] == "word" }

// Settings that the engine itself reads.
const (
	SettingConfirm = "confirm" // "reaction" (default) or "word"
	SettingOff     = "off"     // commands turned off, space-separated
	SettingPaused  = "paused"  // "yes": nothing from other chapters is shown here
	SettingRaise   = "raise"   // who may raise an alert: "anyone", "two" (default) or "moderators"
)

// Off is whether a command was turned off in this room.
func (r *Room) Off(command string) bool {
	for _, c := range strings.Fields(r.Settings[SettingOff]) {
		if c == command {
			return true
		}
	}
	return false
}

// turn prepares the handling of something that a person said or did.
func (tx *Tx) turn(in *Incoming, here *Room, person *Person, lang string) (*Turn, error) {
	t := &Turn{Tx: tx, In: in, Room: here, Here: here, Person: person, Time: in.Sent, reply: in.ID, thread: in.Thread, origin: in.ID}
	switch {
	case t.Time.IsZero() || t.Time.After(tx.now):
		t.Time = tx.now
	case tx.now.Sub(t.Time) > oldest:
		t.Time = tx.now.Add(-oldest)
	}
	var err error
	if person != nil {
		if t.Member, err = tx.Member(here.ID, person.ID); err != nil {
			return nil, err
		}
	}
	t.lane = "room"
	if in.Thread != "" {
		t.lane = "thread " + shortHash(tx.Hash("message", in.Thread))
	}
	t.Lang = here.Lang
	if here.Direct && person != nil {
		if t.Lang, err = t.directLang(lang); err != nil {
			return nil, err
		}
	}
	if t.Lang == "" {
		t.Lang = lang
	}
	if t.Lang == "" {
		t.Lang = tx.e.cfg.Lang
	}
	return t, nil
}

// directLang is a person's language in her direct chat: her own, else that of the room she last used, else of her words, else of
// a room that she shares with the bot.
// Her zone is put on the chat, so that what is delivered later is in it.
func (t *Turn) directLang(words string) (string, error) {
	lang, zone := t.Person.Lang, t.Person.Zone
	if t.Person.LastRoom != 0 && (lang == "" || zone == "") {
		last, err := t.Tx.Room(t.Person.LastRoom)
		if err != nil {
			return "", err
		}
		if lang == "" {
			lang = last.Lang
		}
		if zone == "" {
			zone = last.Zone
		}
	}
	if zone != t.Here.Zone {
		t.Here.Zone = zone
		if err := t.SaveRoom(t.Here); err != nil {
			return "", err
		}
	}
	if lang == "" {
		lang = words
	}
	if lang != "" {
		return lang, nil
	}
	rooms, err := t.RoomsOf(t.Person.ID)
	if err != nil {
		return "", err
	}
	for _, r := range rooms {
		if r.Lang != "" {
			return r.Lang, nil
		}
	}
	return "", nil
}

// calledIn is the language of the word that called a command: the room's if it has that word, else the only one that does.
func (t *Turn) calledIn(c call) string {
	if c.node == nil {
		return ""
	}
	typed := markup.FoldWord(c.word)
	var langs []string
	for lang, words := range t.Locales().Words("command." + c.node.path[0]) {
		if slices.ContainsFunc(words, func(w string) bool { return markup.FoldWord(w) == typed }) {
			langs = append(langs, lang)
		}
	}
	switch {
	case slices.Contains(langs, t.Here.Lang):
		return t.Here.Lang
	case len(langs) == 1:
		return langs[0]
	}
	return ""
}

// clean makes what was typed harmless, and refuses what is too long.
func clean(text string) (string, error) {
	if n := len([]rune(text)); n > MaxText {
		return "", Refuse(TooLong{Count: MaxText})
	}
	return markup.Clean(text), nil
}

func shortHash(h []byte) string { return crockford(h)[:12] }
