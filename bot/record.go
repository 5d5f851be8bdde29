package bot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"starling/locales"
	"starling/locales/markup"
)

// MaxBody is how large a record's body may be, in octets.
const MaxBody = 32 << 10

// Scopes: who may ever see a record.
const (
	ScopeRoom      = "room"      // never leaves the bot
	ScopeFollowers = "followers" // approved followers of its chapter
)

// Record is one version of something that people said and that is kept: an envelope that is signed, and a body that can be
// erased while the envelope still verifies.
type Record struct {
	ID        string // ULID, the same in every version
	Version   int
	Kind      string
	Scope     string
	Chapter   string // "" for a room without one
	Previous  string // hash of the version before
	At        time.Time
	Expires   time.Time
	Encrypted bool // it came from an encrypted room
	BodyHash  string
	Hash      string
	Signature string
	Body      json.RawMessage // nil once erased

	// What only this bot knows, not part of the envelope.
	Room   RoomID
	Author PersonID
	State  string
	Due    time.Time
	code   string
}

// envelope is what is signed, in canonical JSON: keys sorted, no spaces.
type envelope struct {
	At        int64  `json:"at"`
	BodyHash  string `json:"body"`
	Chapter   string `json:"chapter"`
	Encrypted bool   `json:"encrypted"`
	Expires   int64  `json:"expires"`
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Previous  string `json:"previous"`
	Scope     string `json:"scope"`
	Version   int    `json:"version"`
}

func (r *Record) canonical() []byte {
	b, err := json.Marshal(envelope{r.At.UnixMilli(), r.BodyHash, r.Chapter, r.Encrypted, millis(r.Expires), r.ID, r.Kind, r.Previous, r.Scope, r.Version})
	if err != nil {
		panic(err) // strings and numbers: cannot be
	}
	return b
}

// Code is what people type for it.
func (r *Record) Code() locales.Code { return locales.Code(r.code) }

// LongCode tells it from others whose code begins alike.
func (r *Record) LongCode() locales.Code {
	return locales.Code(r.code[:2] + fullCode(r.ID)[:10])
}

func (r *Record) hash() string {
	sum := sha256.Sum256(r.canonical())
	return hex.EncodeToString(sum[:])
}

func (r *Record) sign(secret ed25519.PrivateKey) {
	r.Hash, r.Signature = r.hash(), base64.RawStdEncoding.EncodeToString(ed25519.Sign(secret, r.canonical()))
}

// Verify checks hash and signature against the public key of its chapter (or of the bot, for a room without one).
func (r *Record) Verify(public ed25519.PublicKey) error {
	if r.hash() != r.Hash {
		return errors.New("the hash does not fit the envelope")
	}
	sig, err := base64.RawStdEncoding.DecodeString(r.Signature)
	if err != nil || !ed25519.Verify(public, r.canonical(), sig) {
		return errors.New("the signature does not fit the envelope")
	}
	return nil
}

func bodyHash(salt string, body []byte) string {
	sum := sha256.Sum256(append([]byte(salt), body...))
	return hex.EncodeToString(sum[:])
}

const crockfordDigits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func crockford(b []byte) string {
	var out strings.Builder
	var acc, bits uint
	for _, c := range b {
		acc, bits = acc<<8|uint(c), bits+8
		for bits >= 5 {
			bits -= 5
			out.WriteByte(crockfordDigits[acc>>bits&31])
		}
		acc &= 1<<bits - 1
	}
	return out.String()
}

// fullCode is the whole of which short codes are beginnings.
func fullCode(id string) string {
	sum := sha256.Sum256([]byte(id))
	return crockford(sum[:])
}

// readCode normalises what people type for a code: case, O and I and L, missing dash. letter is "" when none was typed.
func readCode(typed string) (letter, digits string) {
	s := strings.ToUpper(markup.Digits(strings.Trim(typed, "`.,:;!?()«»\"' \u2066\u2067\u2068\u2069")))
	if l, rest, ok := strings.Cut(dashes.Replace(s), "-"); ok && len(l) == 1 {
		letter, s = l, rest
	} else if len(s) == 5 && s[0] >= 'A' && s[0] <= 'Z' {
		letter, s = s[:1], s[1:]
	}
	s = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "").Replace(s)
	if len(s) < 4 || strings.Trim(s, crockfordDigits) != "" {
		return "", ""
	}
	return letter, s
}

// meant is whether a typed code can mean this record, of one of kinds; none: of any.
func (r *Record) meant(typed string, kinds []string) bool {
	letter, digits := readCode(typed)
	return digits != "" && strings.HasPrefix(fullCode(r.ID), digits) && (letter == "" || letter == r.code[:1]) && (len(kinds) == 0 || slices.Contains(kinds, r.Kind))
}

// dashes are what phones put in the place of a hyphen.
var dashes = strings.NewReplacer("\u2010", "-", "\u2011", "-", "\u2012", "-", "\u2013", "-", "\u2014", "-", "\u2212", "-")

// newID makes a ULID from the engine's clock and randomness.
func (tx *Tx) newID() string {
	return ulid.MustNew(ulid.Timestamp(tx.now), tx.e.cfg.Rand).String()
}

// NewRecord keeps something that was said in this turn: version 1. Scope room until somebody shares it.
func (t *Turn) NewRecord(kind string, body any, expires time.Time) (*Record, error) {
	r := &Record{ID: t.newID(), Kind: kind, Scope: ScopeRoom, Expires: t.Here.last(t.now, expires), Encrypted: t.Encrypted(), Room: t.Room.ID, Chapter: t.Room.Chapter}
	if t.Person != nil {
		r.Author = t.Person.ID
	}
	var err error
	if r.code, err = t.freeCode(t.e.kinds[kind].Letter, r.ID); err != nil {
		return nil, err
	}
	var origin []byte
	if t.In != nil && t.origin != "" {
		origin = t.originHash(t.In.Adapter, t.Here.Address, t.origin)
	}
	if err := t.write(r, body, origin); err != nil {
		return nil, err
	}
	if !r.Expires.Equal(expires) {
		t.vanishing = r
		if err := t.vanishesAt(r); err != nil {
			return nil, err
		}
	}
	if t.dialogue == 0 {
		return r, nil
	}
	// The questions repeated the answers: they go when the record goes.
	return r, t.Exec(`UPDATE outbox SET record = $1 WHERE person = $2 AND room = $3 AND topic = $4 AND ref = $5 AND record = ''`,
		r.ID, r.Author, t.Here.ID, topicDialogue, fmt.Sprint(t.dialogue))
}

// Revise makes the next version of a record: another body, perhaps another scope or expiry. Only its own chapter may.
func (t *Turn) Revise(r *Record, body any) error {
	// What a room kept before it joined a chapter stays its own.
	if r.Chapter != "" && r.Chapter != t.Room.Chapter || r.Chapter == "" && r.Room != t.Room.ID {
		return fmt.Errorf("record %s belongs to another chapter", r.ID)
	}
	if err := t.outlivesNothing(r); err != nil {
		return err
	}
	until := r.Expires
	if err := t.write(r, body, nil); err != nil || r.Expires.Equal(until) {
		return err
	}
	return t.vanishesAt(r)
}

// freeCode is the shortest code, of at least four digits, that no other record has.
func (tx *Tx) freeCode(letter, id string) (string, error) {
	full := fullCode(id)
	for n := 4; n < len(full); n++ {
		code := letter + "-" + full[:n]
		taken, err := tx.One(`SELECT 1 FROM records WHERE code = $1 LIMIT 1`, []any{code}, new(int))
		if err != nil || !taken {
			return code, err
		}
	}
	return "", errors.New("no free code")
}

func (tx *Tx) originHash(adapter, room, message string) []byte {
	return tx.Hash("origin", adapter+" "+room+" "+message)
}

// write signs and stores one version.
func (tx *Tx) write(r *Record, body any, origin []byte) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if len(raw) > MaxBody {
		return Refuse(TooLong{Count: MaxText})
	}
	kind, ok := tx.e.kinds[r.Kind]
	if !ok {
		return fmt.Errorf("no kind of record is called %s", r.Kind)
	}
	room, err := tx.Room(r.Room)
	if err != nil {
		return err
	}
	r.Expires = room.last(tx.now, r.Expires)
	salt := make([]byte, 16)
	if _, err := io.ReadFull(tx.e.cfg.Rand, salt); err != nil {
		return err
	}
	saltText := base64.RawStdEncoding.EncodeToString(salt)
	r.Version, r.Previous, r.At, r.Body = r.Version+1, r.Hash, tx.now.UTC().Truncate(time.Millisecond), raw
	r.BodyHash = bodyHash(saltText, raw)
	secret, err := tx.signer(r.Chapter)
	if err != nil {
		return err
	}
	r.sign(secret)
	r.State, r.Due = kind.Index(raw)
	if err := tx.Exec(`UPDATE records SET latest = false WHERE id = $1 AND latest`, r.ID); err != nil {
		return err
	}
	if err := tx.Exec(`INSERT INTO records (id, version, latest, kind, scope, chapter, previous, at, expires, encrypted, body_hash, hash, signature, code, room, author, origin, state, due)
		VALUES ($1,$2,true,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18)`,
		r.ID, r.Version, r.Kind, r.Scope, r.Chapter, r.Previous, r.At.UnixMilli(), millis(r.Expires), r.Encrypted, r.BodyHash, r.Hash, r.Signature,
		r.code, r.Room, r.Author, origin, r.State, millis(r.Due)); err != nil {
		return err
	}
	return tx.Exec(`INSERT INTO bodies (id, version, salt, body) VALUES ($1,$2,$3,$4)`, r.ID, r.Version, saltText,
		tx.Seal("bodies", "body", fmt.Sprintf("%s.%d", r.ID, r.Version), string(raw)))
}

const recordColumns = `r.id, r.version, r.kind, r.scope, r.chapter, r.previous, r.at, r.expires, r.encrypted, r.body_hash, r.hash, r.signature, r.code, r.room, r.author, r.state, r.due, b.body`

func (tx *Tx) scanRecord(row Row) (*Record, error) {
	var r Record
	var at, expires, due int64
	var body []byte
	if err := row.Scan(&r.ID, &r.Version, &r.Kind, &r.Scope, &r.Chapter, &r.Previous, &at, &expires, &r.Encrypted, &r.BodyHash, &r.Hash, &r.Signature,
		&r.code, &r.Room, &r.Author, &r.State, &due, &body); err != nil {
		return nil, err
	}
	r.At, r.Expires, r.Due = fromMillis(at), fromMillis(expires), fromMillis(due)
	if body != nil {
		text, err := tx.Open("bodies", "body", fmt.Sprintf("%s.%d", r.ID, r.Version), body)
		if err != nil {
			return nil, err
		}
		r.Body = json.RawMessage(text)
	}
	return &r, nil
}

func (tx *Tx) records(where string, args ...any) ([]*Record, error) {
	var all []*Record
	err := tx.Each(`SELECT `+recordColumns+` FROM records r LEFT JOIN bodies b ON b.id = r.id AND b.version = r.version WHERE `+where, args, func(row Row) error {
		r, err := tx.scanRecord(row)
		all = append(all, r)
		return err
	})
	return all, err
}

// Record gives the latest version of a record; nil when there is none or it was erased.
func (tx *Tx) Record(id string) (*Record, error) {
	all, err := tx.records(`r.id = $1 AND r.latest`, id)
	if err != nil || len(all) == 0 || all[0].Body == nil {
		return nil, err
	}
	return all[0], nil
}

// List gives the records of a kind and state that belong to a room: its own, and those of its chapter's other rooms. Sorted by
// due time, then age; those without a due time come last.
func (tx *Tx) List(room *Room, kind, state string) ([]*Record, error) {
	where := `r.latest AND b.body IS NOT NULL AND r.kind = $1 AND r.state = $2 AND (r.room = $3 OR r.chapter <> '' AND r.chapter = $4) ORDER BY CASE WHEN r.due = 0 THEN 1 ELSE 0 END, r.due, r.id`
	return tx.records(where, kind, state, room.ID, room.Chapter)
}

// Shown gives the records of a kind and state that a room was shown by other chapters that it hears, the newest first.
func (tx *Tx) Shown(room *Room, kind, state string) ([]*Record, error) {
	return tx.records(`r.latest AND b.body IS NOT NULL AND r.kind = $1 AND r.state = $2 AND r.room <> $3 AND r.chapter <> $4 AND `+shownTo("$3")+` ORDER BY r.id DESC`,
		kind, state, room.ID, room.Chapter)
}

// shownTo is the condition that a room was shown a record of another chapter, and still hears that chapter: who has ended it, on
// either side, has ended all of it.
func shownTo(room string) string {
	return `EXISTS (SELECT 1 FROM follows f WHERE f.room = ` + room + ` AND f.chapter = r.chapter AND f.active)
		AND EXISTS (SELECT 1 FROM outbox o WHERE o.record = r.id AND o.room = ` + room + ` AND o.state = 1)`
}

// FindRecords finds what a typed code can mean in a room: its own records, its chapter's, and what it was shown by chapters that it
// hears.
func (tx *Tx) FindRecords(room *Room, typed string, kinds ...string) ([]*Record, error) {
	letter, digits := readCode(typed)
	if digits == "" {
		return nil, nil
	}
	var letters []string
	for _, k := range kinds {
		letters = append(letters, tx.e.kinds[k].Letter)
	}
	if len(kinds) == 0 {
		for l := range tx.e.letters {
			letters = append(letters, l)
		}
	}
	slices.Sort(letters)
	var all []*Record
	for _, l := range letters {
		if letter != "" && l != letter {
			continue
		}
		// What was typed may be longer than the code (then it is checked below) or shorter.
		short := l + "-" + digits[:4]
		found, err := tx.records(`r.latest AND b.body IS NOT NULL AND r.code >= $1 AND r.code <= $4 AND
			(r.room = $2 OR r.chapter <> '' AND r.chapter = $3 OR `+shownTo("$2")+`) ORDER BY r.id`,
			short, room.ID, room.Chapter, short+"ZZZZZZZZ")
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if strings.HasPrefix(fullCode(r.ID), digits) {
				all = append(all, r)
			}
		}
	}
	if len(all) > 1 { // a code typed whole means that record
		for _, r := range all {
			if r.code[2:] == digits && !slices.ContainsFunc(all, func(o *Record) bool { return o != r && o.code[2:] == digits }) && len(digits) > 4 {
				return []*Record{r}, nil
			}
		}
	}
	return all, nil
}

// recordFrom finds the record that a message made.
func (tx *Tx) recordFrom(adapter, room, message string) (*Record, error) {
	if message == "" {
		return nil, nil
	}
	var id string
	found, err := tx.One(`SELECT id FROM records WHERE origin = $1 LIMIT 1`, []any{tx.originHash(adapter, room, message)}, &id)
	if err != nil || !found {
		return nil, err
	}
	return tx.Record(id)
}

// RecordAt finds the record that a message is about: one that the bot posted, or one that made a record.
func (t *Turn) RecordAt(message string) (*Record, error) {
	_, _, _, record, _, err := t.posted(t.Here.ID, message)
	if err != nil {
		return nil, err
	}
	if record != "" {
		return t.Record(record)
	}
	return t.recordFrom(t.Here.Adapter, t.Here.Address, message)
}

// Erase takes a record's words away in every version; the envelopes stay and still verify. What the bot said about it is
// deleted where the network can, and the capability tells who else must know.
func (t *Turn) Erase(r *Record) error {
	if err := t.erase(r); err != nil {
		return err
	}
	if hook := t.e.kinds[r.Kind].Withdrawn; hook != nil {
		return hook(t, r)
	}
	return nil
}

// blank takes away the words of a record and all that says whose they were; the envelopes stay.
func (tx *Tx) blank(r *Record) error {
	if err := tx.Exec(`DELETE FROM bodies WHERE id = $1`, r.ID); err != nil {
		return err
	}
	return tx.Exec(`UPDATE records SET author = 0, origin = NULL, state = 'erased', due = 0 WHERE id = $1`, r.ID)
}

func (tx *Tx) erase(r *Record) error {
	if err := tx.blank(r); err != nil {
		return err
	}
	all, err := tx.Deliveries(r.ID)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := tx.Delete(d.Row); err != nil {
			return err
		}
	}
	lists, err := tx.rows(`lists <> '' AND lists LIKE $1`, "%"+r.ID+"%")
	if err != nil {
		return err
	}
	for _, row := range lists {
		err := errors.Join(tx.Delete(row), tx.Exec(`UPDATE outbox SET data = NULL WHERE id = $1 AND state <> 0`, row))
		if err != nil {
			return err
		}
	}
	if err := tx.drop(`record = $1`, r.ID); err != nil {
		return err
	}
	return tx.Exec(`UPDATE outbox SET data = NULL WHERE record = $1 AND state <> 0`, r.ID)
}

const topicWithdraw = "withdraw"

// withdrawAnswer takes the answer to "withdraw it?".
func withdrawAnswer(t *Turn, ref string, a Answer) error {
	r, err := t.Record(ref)
	if err != nil || r == nil || !a.On {
		return err
	}
	if r.Author != t.Person.ID && !t.Moderator() {
		return nil
	}
	switch {
	case a.Yes && !a.Typed && t.Room.ConfirmByWord():
		return Refuse(TypeYes{})
	case a.Yes:
		if err := t.May(Changes); err != nil {
			return err
		}
		code := r.Code()
		if err := t.Erase(r); err != nil {
			return err
		}
		return t.Done(Withdrawn{Code: code})
	case a.No:
		return t.Done(Kept{Code: r.Code()})
	}
	return nil
}
