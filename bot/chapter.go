package bot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"

	"starling/locales"
	"starling/locales/markup"
)

// Chapter is an autonomous local group. Its id, from the hash of its first key, never changes; its name is a label.
type Chapter struct {
	ID     string
	Name   string
	Public ed25519.PublicKey
	Room   RoomID // its first room
	Listed bool   // it chose to be shown to others
	Open   bool   // following needs no approval
}

// Mark is the four characters of the id that tell look-alike names apart.
func (c *Chapter) Mark() string { return strings.ToUpper(c.ID[:markLength]) }

const markLength = 4

// ErrNameTaken is returned when another chapter's name looks the same.
var ErrNameTaken = errors.New("another chapter has that name, or one that looks like it")

const chapterColumns = `id, name, public, room, listed, open`

func (tx *Tx) scanChapter(row Row) (*Chapter, error) {
	var c Chapter
	var name, public []byte
	if err := row.Scan(&c.ID, &name, &public, &c.Room, &c.Listed, &c.Open); err != nil {
		return nil, err
	}
	c.Public = public
	var err error
	c.Name, err = tx.Open("chapters", "name", c.ID, name)
	return &c, err
}

// Chapter gives a chapter by id; nil for "" and for one that is gone.
func (tx *Tx) Chapter(id string) (*Chapter, error) {
	if id == "" {
		return nil, nil
	}
	all, err := tx.chapters(`id = $1`, id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// chapters lists some in the order of their names.
func (tx *Tx) chapters(where string, args ...any) ([]*Chapter, error) {
	var all []*Chapter
	err := tx.Each(`SELECT `+chapterColumns+` FROM chapters WHERE `+where+` ORDER BY id`, args, func(row Row) error {
		c, err := tx.scanChapter(row)
		all = append(all, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b *Chapter) int { return strings.Compare(markup.Fold(a.Name), markup.Fold(b.Name)) })
	return all, nil
}

// NewChapter makes a chapter with this room as its first, which speaks for it.
func (tx *Tx) NewChapter(room *Room, name string) (*Chapter, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(tx.e.cfg.Rand, seed); err != nil {
		return nil, err
	}
	secret := ed25519.NewKeyFromSeed(seed)
	public := secret.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(public)
	c := &Chapter{ID: hex.EncodeToString(sum[:10]), Name: name, Public: public, Room: room.ID}
	if taken, err := tx.nameTaken(c); err != nil || taken {
		return nil, errors.Join(err, ErrNameTaken)
	}
	err := tx.Exec(`INSERT INTO chapters (id, name_hash, name, secret, public, room, listed, open, at) VALUES ($1,$2,$3,$4,$5,$6,false,false,$7)`,
		c.ID, tx.Hash("chapter", markup.Fold(name)), tx.Seal("chapters", "name", c.ID, name), tx.Seal("chapters", "secret", c.ID, string(seed)),
		[]byte(public), c.Room, tx.now.UnixMilli())
	if err != nil {
		return nil, err
	}
	room.Chapter, room.Speaks = c.ID, true
	return c, tx.SaveRoom(room)
}

// SaveChapter writes a chapter's name and choices.
func (tx *Tx) SaveChapter(c *Chapter) error {
	if taken, err := tx.nameTaken(c); err != nil || taken {
		return errors.Join(err, ErrNameTaken)
	}
	return tx.Exec(`UPDATE chapters SET name_hash = $1, name = $2, room = $3, listed = $4, open = $5 WHERE id = $6`,
		tx.Hash("chapter", markup.Fold(c.Name)), tx.Seal("chapters", "name", c.ID, c.Name), c.Room, c.Listed, c.Open, c.ID)
}

// nameTaken is whether another chapter has that name, or has it without what looks like the mark that tells two names apart.
func (tx *Tx) nameTaken(c *Chapter) (bool, error) {
	for _, name := range []string{c.Name, marked.ReplaceAllString(markup.Digits(c.Name), "")} {
		if markup.Fold(name) == "" {
			return name == c.Name, nil
		}
		taken, err := tx.One(`SELECT 1 FROM chapters WHERE name_hash = $1 AND id <> $2`, []any{tx.Hash("chapter", markup.Fold(name)), c.ID}, new(int))
		if err != nil || taken {
			return taken, err
		}
	}
	return false, nil
}

// marked finds what could be taken for a mark at the end of a name.
var marked = regexp.MustCompile(`(?i)[^\pL\pN]+[0-9a-f]{4}[^\pL\pN]*$`)

// IsMyName is whether a name could be taken for the bot's own.
func (t *Turn) IsMyName(name string) bool {
	for _, mine := range []string{t.e.cfg.Name, "Starling"} {
		if markup.Fold(name) == markup.Fold(mine) {
			return true
		}
	}
	return false
}

// LeaveChapter takes a room out of its chapter. A chapter without a room is gone: nobody follows it any more.
func (tx *Tx) LeaveChapter(room *Room) error {
	id := room.Chapter
	room.Chapter, room.Speaks = "", false
	if err := tx.SaveRoom(room); err != nil {
		return err
	}
	followed, err := tx.Following(room.ID)
	if err != nil {
		return err
	}
	for _, f := range followed {
		if _, err := tx.EndFollow(room.ID, f.Chapter); err != nil {
			return err
		}
	}
	rest, err := tx.roomsWhere(`chapter = $1`, id)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		if err := tx.Exec(`DELETE FROM follows WHERE chapter = $1`, id); err != nil {
			return err
		}
		return tx.Exec(`DELETE FROM chapters WHERE id = $1`, id)
	}
	c, err := tx.Chapter(id)
	if err != nil || c == nil || c.Room != room.ID {
		return err
	}
	c.Room = rest[0].ID
	rest[0].Speaks = true
	return errors.Join(tx.SaveRoom(rest[0]), tx.SaveChapter(c))
}

// signer is the key that signs for a chapter; the bot's own for a room without one.
func (tx *Tx) signer(chapter string) (ed25519.PrivateKey, error) {
	if chapter == "" {
		sum := tx.Hash("signer", tx.e.instance)
		seed := sha256.Sum256(sum)
		return ed25519.NewKeyFromSeed(seed[:]), nil
	}
	var sealed []byte
	if _, err := tx.One(`SELECT secret FROM chapters WHERE id = $1`, []any{chapter}, &sealed); err != nil {
		return nil, err
	}
	seed, err := tx.Open("chapters", "secret", chapter, sealed)
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, errors.New("a chapter has no key")
	}
	return ed25519.NewKeyFromSeed([]byte(seed)), nil
}

// VisibleChapters lists the chapters that a room may know of: its own, those it hears, those that hear it, and those that
// chose to be listed. Who only asked knows nothing yet.
func (tx *Tx) VisibleChapters(room *Room) ([]*Chapter, error) {
	return tx.chapters(`listed OR id = $1 OR id IN (SELECT chapter FROM follows WHERE room = $2 AND active)
		OR $1 <> '' AND id IN (SELECT r.chapter FROM rooms r JOIN follows f ON f.room = r.id WHERE f.chapter = $1 AND f.active)`, room.Chapter, room.ID)
}

// FindChapter finds a chapter that a room may know of, by name or by the first four characters of its id; nil if none.
func (tx *Tx) FindChapter(room *Room, typed string) (*Chapter, error) {
	visible, err := tx.VisibleChapters(room)
	if err != nil {
		return nil, err
	}
	return PickChapter(visible, typed), nil
}

// PickChapter is FindChapter among these.
func PickChapter(among []*Chapter, typed string) *Chapter {
	name, mark := splitMark(typed)
	for _, c := range among {
		if mark != "" && c.Mark() == mark && markup.Fold(c.Name) == markup.Fold(name) {
			return c
		}
	}
	if i := slices.IndexFunc(among, func(c *Chapter) bool { return markup.Fold(c.Name) == markup.Fold(typed) }); i >= 0 {
		return among[i] // a name never folds to nothing
	}
	if i := slices.IndexFunc(among, func(c *Chapter) bool { return len(typed) >= 4 && strings.HasPrefix(c.ID, strings.ToLower(typed)) }); i >= 0 {
		return among[i]
	}
	return nil
}

// splitMark reads a name as ChapterName shows it: "Lille (A1B2)".
func splitMark(typed string) (name, mark string) {
	rest, ok := strings.CutSuffix(typed, ")")
	i := strings.LastIndexByte(rest, '(')
	if !ok || i < 0 || len(rest)-i-1 != markLength || strings.Trim(rest[i+1:], "0123456789abcdefABCDEF") != "" {
		return typed, ""
	}
	return rest[:i], strings.ToUpper(rest[i+1:])
}

// NameIn is how a room reads a chapter's name: with the mark when another chapter that the room can see, or one of also, has
// a name that looks like it.
func (tx *Tx) NameIn(room *Room, c *Chapter, also ...*Chapter) (ChapterName, error) {
	visible, err := tx.VisibleChapters(room)
	if err != nil {
		return ChapterName{}, err
	}
	n := ChapterName{Name: c.Name}
	for _, o := range append(visible, also...) {
		if o.ID != c.ID && alike(o.Name, c.Name) {
			n.Mark = locales.Code(c.Mark())
		}
	}
	return n, nil
}

// alike is whether a tired reader could take one name for the other: a letter or two apart, or one with something added.
// Names that fold to the same are one name, and only one chapter can have it.
func alike(a, b string) bool {
	a, b = markup.Fold(a), markup.Fold(b)
	shorter := min(utf8.RuneCountInString(a), utf8.RuneCountInString(b))
	if shorter >= 4 && (strings.Contains(a, b) || strings.Contains(b, a)) {
		return true
	}
	apart := 1
	if shorter >= 8 {
		apart = 2
	}
	return levenshtein.ComputeDistance(a, b) <= apart
}

// ChapterNamed finds any chapter of this bot by its whole name: who knows the name was told it.
func (tx *Tx) ChapterNamed(name string) (*Chapter, error) {
	all, err := tx.chapters(`name_hash = $1`, tx.Hash("chapter", markup.Fold(name)))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}

// Follow is one room hearing one chapter.
type Follow struct {
	Room    RoomID
	Chapter string
	Kinds   string // record kinds, space-separated; "" = all
	Active  bool   // both sides agreed
	At      time.Time
}

// Hears is whether a kind of record is part of it.
func (f Follow) Hears(kind string) bool {
	return f.Kinds == "" || slices.Contains(strings.Fields(f.Kinds), kind)
}

// SetFollow writes one side's or both sides' consent.
func (tx *Tx) SetFollow(f Follow) error {
	return tx.Exec(`INSERT INTO follows (room, chapter, kinds, active, at) VALUES ($1,$2,$3,$4,$5)
		ON CONFLICT (room, chapter) DO UPDATE SET kinds = excluded.kinds, active = excluded.active`, f.Room, f.Chapter, f.Kinds, f.Active, tx.now.UnixMilli())
}

// EndFollow ends it at once; either side may. What still waits to be said to that room because of it is never said.
func (tx *Tx) EndFollow(room RoomID, chapter string) (ended bool, err error) {
	n, err := tx.Changed(`DELETE FROM follows WHERE room = $1 AND chapter = $2`, room, chapter)
	if err != nil || n == 0 {
		return false, err
	}
	const theirs = `room = $1 AND record IN (SELECT id FROM records WHERE latest AND chapter = $2)`
	messages, err := tx.rows(`state = 0 AND kind = '`+string(OutMessage)+`' AND `+theirs, room, chapter)
	if err != nil {
		return true, err
	}
	if err := tx.drops(true, theirs, room, chapter); err != nil {
		return true, err
	}
	for _, id := range messages {
		if !slices.Contains(tx.dropped, id) {
			continue // already on its way
		}
		if err := tx.tell(&waiting{id: id, room: room, kind: OutMessage, about: true}, false); err != nil {
			return true, err
		}
	}
	return true, nil
}

// Following lists whom a room hears or has asked to hear.
func (tx *Tx) Following(room RoomID) ([]Follow, error) { return tx.follows(`room = $1`, room) }

// Followers lists which rooms hear a chapter or have asked to.
func (tx *Tx) Followers(chapter string) ([]Follow, error) {
	return tx.follows(`chapter = $1`, chapter)
}

func (tx *Tx) follows(where string, args ...any) ([]Follow, error) {
	var all []Follow
	err := tx.Each(`SELECT room, chapter, kinds, active, at FROM follows WHERE `+where+` ORDER BY at, room, chapter`, args, func(row Row) error {
		var f Follow
		var at int64
		err := row.Scan(&f.Room, &f.Chapter, &f.Kinds, &f.Active, &at)
		f.At = fromMillis(at)
		all = append(all, f)
		return err
	})
	return all, err
}

// Reach lists the rooms that hear what a chapter shares of a kind: its own other rooms, and active followers. What came
// from an encrypted room goes to no unencrypted one; how many rooms that leaves out is withheld. from is left out itself.
func (tx *Tx) Reach(chapter, kind string, encrypted bool, from RoomID) (rooms []*Room, withheld int, err error) {
	own, err := tx.RoomsOfChapter(chapter)
	if err != nil {
		return nil, 0, err
	}
	follows, err := tx.Followers(chapter)
	if err != nil {
		return nil, 0, err
	}
	ids := map[RoomID]bool{from: true}
	consider := func(r *Room) {
		if ids[r.ID] || !r.Joined || r.Settings[SettingPaused] == "yes" {
			return
		}
		ids[r.ID] = true
		if encrypted && !r.Encrypted {
			withheld++
			return
		}
		rooms = append(rooms, r)
	}
	for _, r := range own {
		consider(r)
	}
	for _, f := range follows {
		if !f.Active || !f.Hears(kind) {
			continue
		}
		r, err := tx.Room(f.Room)
		if err != nil {
			return nil, 0, err
		}
		consider(r)
	}
	return rooms, withheld, nil
}
