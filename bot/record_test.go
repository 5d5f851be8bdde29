package bot_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"starling/bot"
	"starling/bot/dbtest"
)

// keep makes /do keep NAME keep a thing with that text, from the room where it is said.
func (h *house) keep(name string, change func(t *bot.Turn, r *bot.Record) error) *bot.Record {
	h.t.Helper()
	var kept *bot.Record
	h.on(name, func(t *bot.Turn) error {
		r, err := t.NewRecord("thing", thing{Text: name, Due: start.Add(time.Hour)}, t.Now().AddDate(0, 1, 0))
		if err == nil && change != nil {
			err = change(t, r)
		}
		kept = r
		return err
	})
	h.say("!room", "ana", "/do "+name)
	if kept == nil || h.engine.Status().Errors > 0 {
		h.t.Fatalf("nothing was kept\n%s", h.log)
	}
	return kept
}

func (h *house) inTurn(room string, do func(t *bot.Turn) error) error {
	var err error
	h.on("in turn", func(t *bot.Turn) error {
		if e := t.Exec(`SAVEPOINT test`); e != nil {
			return e
		}
		if err = do(t); err != nil {
			return t.Exec(`ROLLBACK TO test`)
		}
		return t.Exec(`RELEASE test`)
	})
	h.say(room, strings.TrimPrefix(h.someone(room), "@"), "/do in turn")
	return err
}

func (h *house) someone(room string) string {
	for _, p := range []string{"@ana", "@nora", "@sam"} {
		if _, ok := h.net.Member(room, p); ok {
			return p
		}
	}
	h.t.Fatalf("nobody is in %s", room)
	return ""
}

func (h *house) public(chapter string) (key ed25519.PublicKey) {
	h.t.Helper()
	h.do(func(tx *bot.Tx) error {
		c, err := tx.ChapterNamed(chapter)
		if err == nil {
			key = c.Public
		}
		return err
	})
	return key
}

func TestARecordIsSigned(t *testing.T) {
	h := live(t)
	h.chapter("!room", "Home")
	public := h.public("Home")
	r := h.keep("bread", nil)
	if err := r.Verify(public); err != nil {
		t.Error(err)
	}
	other, _, err := ed25519.GenerateKey(h.rand)
	if err != nil {
		t.Fatal(err)
	}
	if r.Verify(other) == nil {
		t.Error("it verifies with another key")
	}
	for name, change := range map[string]func(*bot.Record){
		"id":        func(r *bot.Record) { r.ID += "x" },
		"version":   func(r *bot.Record) { r.Version++ },
		"kind":      func(r *bot.Record) { r.Kind = "need" },
		"scope":     func(r *bot.Record) { r.Scope = bot.ScopeFollowers },
		"chapter":   func(r *bot.Record) { r.Chapter = "" },
		"previous":  func(r *bot.Record) { r.Previous = r.Hash },
		"time":      func(r *bot.Record) { r.At = r.At.Add(time.Millisecond) },
		"expiry":    func(r *bot.Record) { r.Expires = time.Time{} },
		"encrypted": func(r *bot.Record) { r.Encrypted = false },
		"body":      func(r *bot.Record) { r.BodyHash = r.Hash },
		"hash":      func(r *bot.Record) { r.Hash = r.BodyHash },
		"signature": func(r *bot.Record) { r.Signature = base64.RawStdEncoding.EncodeToString(make([]byte, 64)) },
	} {
		c := *r
		change(&c)
		if c.Verify(public) == nil {
			t.Errorf("it verifies with another %s", name)
		}
	}
}

func TestVersionsAreAChain(t *testing.T) {
	h := live(t)
	h.chapter("!room", "Home")
	var first, second bot.Record
	third := h.keep("bread", func(t *bot.Turn, r *bot.Record) error {
		first = *r
		if err := t.Revise(r, thing{Text: "more bread"}); err != nil {
			return err
		}
		second = *r
		r.Scope = bot.ScopeFollowers
		return t.Revise(r, thing{Text: "all the bread", Done: true})
	})
	public := h.public("Home")
	for i, r := range []*bot.Record{&first, &second, third} {
		if err := r.Verify(public); err != nil || r.Version != i+1 || r.ID != first.ID || r.Code() != first.Code() {
			t.Errorf("version %d: %+v: %v", i+1, r, err)
		}
	}
	if first.Previous != "" || second.Previous != first.Hash || third.Previous != second.Hash {
		t.Error("the versions do not name each other")
	}
	h.do(func(tx *bot.Tx) error {
		r, err := tx.Record(first.ID)
		if err == nil && (r.Version != 3 || r.State != "closed" || !strings.Contains(string(r.Body), "all the bread")) {
			t.Errorf("the latest is %+v", r)
		}
		return err
	})
	if err := h.inTurn("!room", func(t *bot.Turn) error { return t.Revise(&second, thing{}) }); err == nil {
		t.Error("an old version can be revised")
	}
}

func TestNobodyRevisesARecordOfOthers(t *testing.T) {
	h, _ := share(t)
	r := h.keep("bread", nil)
	if err := h.inTurn("!north", func(t *bot.Turn) error { return t.Revise(r, thing{}) }); err == nil {
		t.Error("another chapter can revise it")
	}
	h.room("!other", "nora")
	alone := &bot.Record{}
	if err := h.inTurn("!other", func(t *bot.Turn) (err error) {
		alone, err = t.NewRecord("thing", thing{}, time.Time{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.inTurn("!room", func(t *bot.Turn) error { return t.Revise(alone, thing{}) }); err == nil {
		t.Error("another room can revise it")
	}
}

func TestABodyHasItsBounds(t *testing.T) {
	h := live(t)
	err := h.inTurn("!room", func(t *bot.Turn) error {
		_, err := t.NewRecord("thing", thing{Text: strings.Repeat("x", bot.MaxBody)}, time.Time{})
		return err
	})
	var refused *bot.Refusal
	if !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal", err)
	}
}

// line is one record as it is exported.
type line struct {
	Envelope        json.RawMessage
	Hash, Signature string
	Code, Salt      string
	Body            json.RawMessage
}

func (h *house) exported(chapter string) (all []line, raw string) {
	h.t.Helper()
	var b bytes.Buffer
	if err := h.engine.Export(context.Background(), chapter, &b); err != nil {
		h.t.Fatal(err)
	}
	raw = b.String()
	for s := range strings.Lines(raw) {
		var l line
		if err := json.Unmarshal([]byte(s), &l); err != nil {
			h.t.Fatal(err)
		}
		if l.Hash != "" {
			all = append(all, l)
		}
	}
	return all, raw
}

func TestAnExportCanBeVerifiedAndWhatIsErasedToo(t *testing.T) {
	h, _ := share(t)
	public := h.public("Home")
	r := h.keep("bread", func(t *bot.Turn, r *bot.Record) error { return t.Revise(r, thing{Text: "bread and roses"}) })
	stays := h.keep("salt", nil)
	if err := h.inTurn("!north", func(t *bot.Turn) error {
		_, err := t.NewRecord("thing", thing{Text: "not ours"}, time.Time{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	check := func(erased bool) {
		t.Helper()
		all, raw := h.exported("Home")
		if len(all) != 3 || strings.Contains(raw, "not ours") || !strings.Contains(raw, `"secret"`) {
			t.Errorf("exported: %s", raw)
		}
		for _, l := range all {
			sum := sha256.Sum256(l.Envelope)
			sig, err := base64.RawStdEncoding.DecodeString(l.Signature)
			if err != nil || hex.EncodeToString(sum[:]) != l.Hash || !ed25519.Verify(public, l.Envelope, sig) {
				t.Errorf("it does not verify: %s", l.Envelope)
			}
			var e struct{ ID, Body string }
			if err := json.Unmarshal(l.Envelope, &e); err != nil {
				t.Fatal(err)
			}
			if gone := erased && e.ID == r.ID; gone != (l.Body == nil) {
				t.Errorf("%s has the body %s", e.ID, l.Body)
			}
			if l.Body != nil {
				if sum := sha256.Sum256(append([]byte(l.Salt), l.Body...)); hex.EncodeToString(sum[:]) != e.Body {
					t.Errorf("the body %s does not fit", l.Body)
				}
			}
		}
	}
	check(false)
	if err := h.inTurn("!room", func(t *bot.Turn) error { return t.Erase(r) }); err != nil {
		t.Fatal(err)
	}
	check(true)
	h.do(func(tx *bot.Tx) error {
		gone, err := tx.Record(r.ID)
		if err != nil || gone != nil {
			t.Errorf("erased, and still %+v: %v", gone, err)
		}
		all, err := tx.List(must(tx.RoomAt("net", "!room")), "thing", "open")
		if err != nil || len(all) != 1 || all[0].ID != stays.ID {
			t.Errorf("%d are listed: %v", len(all), err)
		}
		return nil
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// table reads a whole table, row by row, sorted.
func (h *house) table(name string) []string {
	h.t.Helper()
	driver, source := "sqlite3", "file:"+filepath.Join(h.dir, "starling.db")+"?mode=ro"
	if url := dbtest.For(h.t, h.dir); url != "" {
		driver, source = "pgx", url
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT * FROM ` + name)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	columns := must(rows.Columns())
	var all []string
	for rows.Next() {
		vals, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range vals {
			into[i] = &vals[i]
		}
		if err := rows.Scan(into...); err != nil {
			h.t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%q %v", columns, vals))
	}
	if err := rows.Err(); err != nil {
		h.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func TestARebuildGivesTheSameWhateverTheOrderOfArrival(t *testing.T) {
	h := live(t)
	h.chapter("!room", "Home")
	for i := range 8 {
		r := h.keep(fmt.Sprint("thing ", i), func(t *bot.Turn, r *bot.Record) error {
			for v := range i % 4 {
				if err := t.Revise(r, thing{Text: fmt.Sprint("version ", v), Done: v == 2, Due: start.Add(time.Duration(v) * time.Hour)}); err != nil {
					return err
				}
			}
			return nil
		})
		if i == 5 {
			if err := h.inTurn("!room", func(t *bot.Turn) error { return t.Erase(r) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := h.table("records")
	h.do(func(tx *bot.Tx) error {
		for _, q := range []string{
			`CREATE TEMPORARY TABLE other AS SELECT * FROM records ORDER BY hash`,
			`DELETE FROM records`,
			`INSERT INTO records SELECT * FROM other`,
			`UPDATE records SET latest = version % 2 = 0, state = 'nonsense', due = version`,
		} {
			if err := tx.Exec(q); err != nil {
				return err
			}
		}
		return nil
	})
	if cmp.Equal(want, h.table("records")) {
		t.Fatal("nothing was changed")
	}
	for range 2 {
		if err := h.engine.Rebuild(context.Background()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, h.table("records")); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatIsPastItsTimeIsErased(t *testing.T) {
	h := live(t)
	r := h.keep("bread", nil) // for a month
	h.advance(20 * 24 * time.Hour)
	if len(h.table("bodies")) != 1 {
		t.Error("its words are gone too early")
	}
	h.advance(12 * 24 * time.Hour)
	if n := len(h.table("bodies")); n != 0 {
		t.Errorf("%d bodies are left", n)
	}
	if rows := h.table("records"); len(rows) != 1 || !strings.Contains(rows[0], r.Hash) {
		t.Errorf("of the envelope is left %q", rows)
	}
	h.advance(31 * 24 * time.Hour)
	if rows := h.table("records"); len(rows) != 0 {
		t.Errorf("of the envelope is left %q", rows)
	}
	for _, name := range []string{"outbox", "seen", "dialogues", "jobs"} {
		if rows := h.table(name); len(rows) != 0 {
			t.Errorf("%s still has %q", name, rows)
		}
	}
}

func TestIDsAreNeverGivenTwice(t *testing.T) {
	h := live(t)
	h.say("!room", "ana", "/ask")
	row := h.post("!room", "old")
	h.settle()
	h.advance(40 * 24 * time.Hour) // all of it has expired
	if n := len(h.table("outbox")) + len(h.table("dialogues")); n != 0 {
		t.Fatalf("%d rows are left", n)
	}
	h.restart()
	if again := h.post("!room", "new"); again <= row {
		t.Errorf("row %d is given again, the last was %d", again, row)
	}
}

func TestCodesAsPeopleTypeThem(t *testing.T) {
	h := live(t)
	h.room("!other", "nora")
	codes := map[string]string{} // code → id
	if err := h.inTurn("!room", func(t *bot.Turn) error {
		for range 4000 {
			r, err := t.NewRecord("thing", thing{}, time.Time{})
			if err != nil {
				return err
			}
			codes[string(r.Code())] = r.ID
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	find := func(room, typed string) (ids []string) {
		t.Helper()
		h.do(func(tx *bot.Tx) error {
			all, err := tx.FindRecords(must(tx.RoomAt("net", room)), typed)
			for _, r := range all {
				ids = append(ids, r.ID)
			}
			return err
		})
		return ids
	}
	if len(codes) != 4000 {
		t.Fatalf("%d codes for 4000 records", len(codes))
	}
	long, confusable := "", ""
	for code := range codes {
		if len(code) > len("T-0000") {
			long = code
		} else if strings.Contains(code, "0") && strings.Contains(code, "1") && codes[code] != "" {
			confusable = code
		}
	}
	if long == "" || confusable == "" {
		t.Fatal("too few records")
	}
	id, digits := codes[confusable], confusable[2:]
	only := len(find("!room", confusable)) == 1
	for _, typed := range []string{
		confusable, strings.ToLower(confusable), digits, "T" + digits, "t" + strings.ToLower(digits),
		strings.ReplaceAll(confusable, "0", "O"), strings.ReplaceAll(confusable, "0", "o"),
		strings.ReplaceAll(confusable, "1", "I"), strings.ReplaceAll(confusable, "1", "l"), strings.ReplaceAll(confusable, "1", "L"),
		"\u2068" + confusable + "\u2069", "`" + confusable + "`", confusable + ".", "(" + confusable + "),", "«" + confusable + "»",
		strings.Replace(confusable, "-", "\u2011", 1), strings.Replace(confusable, "-", "–", 1),
		strings.NewReplacer("0", "٠", "1", "۱").Replace(confusable),
	} {
		if got := find("!room", typed); !slices.Contains(got, id) || only && len(got) != 1 {
			t.Errorf("%q finds %q, want %q", typed, got, id)
		}
	}
	for _, typed := range []string{"", "T", "T-", "N-" + digits, "T-" + digits[:3], "T-%___", "____", confusable + "*", "T-ZZZZZZZZZZZZZZZ", strings.Repeat("7", 5000)} {
		if got := find("!room", typed); len(got) != 0 {
			t.Errorf("%q finds %q", typed[:min(len(typed), 20)], got)
		}
	}
	if got := find("!other", confusable); len(got) != 0 {
		t.Errorf("another room finds %q", got)
	}
	// A code that begins like another: the short form means both, the long one only the one.
	if got := find("!room", long[:6]); len(got) < 2 || !slices.Contains(got, codes[long]) {
		t.Errorf("%s finds %q", long[:6], got)
	}
	if got := find("!room", long); len(got) != 1 || got[0] != codes[long] {
		t.Errorf("%s finds %q, want %q", long, got, codes[long])
	}
}

func TestWhatWasShownToARoomCanBeNamedThere(t *testing.T) {
	h, id := share(t)
	h.room("!other", "nora")
	h.say("!room", "ana", "/do share")
	h.do(func(tx *bot.Tx) error {
		r := must(tx.Record(*id))
		for room, want := range map[string]int{"!room": 1, "!north": 1, "!other": 0} {
			if got := must(tx.FindRecords(must(tx.RoomAt("net", room)), string(r.Code()))); len(got) != want {
				t.Errorf("%s finds %d", room, len(got))
			}
		}
		return nil
	})
}
