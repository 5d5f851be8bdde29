package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"starling/adapters/rig"
	"starling/bot"
)

// authorisationFile says who gets what where; its head explains how it is read.
const authorisationFile = "testdata/authorisation.txt"

// deed is one thing that people do, with what each of them gets for it in each kind of room.
type deed struct {
	line      int
	steps     []string // what she does, one after the other; the answer to the last counts
	given     []string // what happened before
	yes       string   // what she is told where she may
	elsewhere []string // what other rooms are told where she may
	rows      []permission
}

// permission is one line of a deed: in these rooms, each role gets this.
type permission struct {
	line  int
	rooms []string
	cells []string
}

// The kinds of rooms and the roles; the head of the table says what they are.
var (
	roomKinds = []string{"own", "own-clear", "part", "other", "other-clear", "none", "none-clear", "direct", "direct-clear", "direct-away"}
	roleNames = []string{"member", "moderator", "unsigned", "ignored", "outside"}
)

func readAuthorisation(name string) ([]*deed, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []*deed
	situations := map[string][]string{}
	situation := ""
	s := bufio.NewScanner(f)
	for no := 1; s.Scan(); no++ {
		text := strings.TrimRight(s.Text(), " ")
		wrong := func(what string) error { return fmt.Errorf("%s:%d: %s", name, no, what) }
		words := strings.Fields(text)
		switch {
		case text == "" || strings.HasPrefix(text, "#"):
			continue
		case words[0] == "columns":
			if !slices.Equal(words[1:], roleNames) {
				return nil, wrong("the columns are " + strings.Join(roleNames, " "))
			}
			continue
		case words[0] == "situation":
			situation = strings.Join(words[1:], " ")
			continue
		case !strings.HasPrefix(text, " "):
			all = append(all, &deed{line: no, steps: strings.Split(text, " > ")})
			situation = ""
			continue
		case situation != "":
			situations[situation] = append(situations[situation], strings.TrimSpace(text))
			continue
		case len(all) == 0:
			return nil, wrong("a line before the first deed")
		}
		d := all[len(all)-1]
		switch words[0] {
		case "given":
			given := strings.Join(words[1:], " ")
			if step.MatchString(given) || givenFollow.MatchString(given) {
				d.given = append(d.given, given)
			} else if len(situations[given]) > 0 {
				d.given = append(d.given, situations[given]...)
			} else {
				return nil, wrong("no such situation")
			}
		case "yes":
			d.yes = strings.Join(words[1:], "+")
		case "elsewhere":
			d.elsewhere = words[1:]
		default:
			if len(words) != 1+len(roleNames) {
				return nil, wrong(fmt.Sprintf("%d cells, not %d", len(words)-1, len(roleNames)))
			}
			d.rows = append(d.rows, permission{no, strings.Split(words[0], ","), words[1:]})
		}
	}
	return all, s.Err()
}

// wants gives what each role gets in each kind of room: by the line that names it, else by the one whose pattern fits, else by "*".
func (d *deed) wants() (map[string][]string, error) {
	want, used := map[string][]string{}, map[int]bool{}
	for _, kind := range roomKinds {
		best := 0
		for _, row := range d.rows {
			for _, pattern := range row.rooms {
				fits, err := path.Match(pattern, kind)
				if err != nil || !fits {
					continue
				}
				rank := 2
				if pattern == "*" {
					rank = 1
				} else if pattern == kind {
					rank = 3
				}
				switch {
				case rank == best:
					return nil, fmt.Errorf("line %d: what holds in the room %s was said before", row.line, kind)
				case rank > best:
					best, want[kind] = rank, row.cells
				}
			}
		}
		if best == 0 {
			return nil, fmt.Errorf("line %d: nothing is said about the room %s", d.line, kind)
		}
		for _, row := range d.rows {
			used[row.line] = used[row.line] || &row.cells[0] == &want[kind][0]
		}
	}
	for _, row := range d.rows {
		if !used[row.line] {
			return nil, fmt.Errorf("line %d: there is no such room, or other lines say all about it", row.line)
		}
	}
	return want, nil
}

// TestAuthorisation plays every line of the table for real and compares what people get for it.
func TestAuthorisation(t *testing.T) {
	deeds, err := readAuthorisation(authorisationFile)
	if err != nil {
		t.Fatal(err)
	}
	h := wholeHouse(t)
	covered := map[string]bool{}
	var cells []*cell
	for _, d := range deeds {
		if first := d.steps[0]; strings.HasPrefix(first, "/") {
			c, ok := h.find(first)
			if !ok {
				t.Errorf("line %d: %s is no command", d.line, first)
			}
			if len(d.steps) == 1 {
				covered[strings.Join(c.Path, " ")] = true
			}
		} else if len(d.given) == 0 {
			t.Errorf("line %d: %s answers nothing", d.line, first)
		}
		want, err := d.wants()
		if err != nil {
			t.Fatalf("%s: %v", authorisationFile, err)
		}
		for _, kind := range roomKinds {
			for i, role := range roleNames {
				cells = append(cells, &cell{deed: d, kind: kind, role: role, want: want[kind][i], number: len(cells)})
			}
		}
	}
	for _, c := range h.commands {
		if name := strings.Join(c.Path, " "); !covered[name] {
			t.Errorf("/%s has no lines in %s: who may call it, where, and what do the others get?", name, authorisationFile)
		}
	}
	// A bot for some of them each: what it looks through grows with the number of its chapters.
	t.Run("played", func(t *testing.T) {
		for some := range slices.Chunk(cells, 8*len(roomKinds)*len(roleNames)) {
			t.Run(fmt.Sprintf("line %d", some[0].deed.line), func(t *testing.T) {
				t.Parallel()
				playAll(t, some)
			})
		}
	})
	checkCells(t, deeds, cells)
}

// checkCells compares what people got with what the table says.
func checkCells(t *testing.T, deeds []*deed, cells []*cell) {
	allowed, refused := map[string]int{}, map[string]int{}
	told := map[*deed]map[string]bool{}
	asItIs := map[*deed]bool{}
	for _, c := range cells {
		want, may := c.want, false
		switch after, named := strings.CutPrefix(c.want, "yes:"); {
		case named:
			want, may = after, true
		case c.want == "yes":
			want, may = c.deed.yes, true
		}
		if c.got != want {
			t.Errorf("line %d: %s\n  %s in a room %s got %s, want %s", c.deed.line, strings.Join(c.deed.steps, " > "), c.role, c.kind, c.got, c.want)
			asItIs[c.deed] = true
		}
		if told[c.deed] == nil {
			told[c.deed] = map[string]bool{}
		}
		for _, key := range c.elsewhere {
			if told[c.deed][key] = true; !may || !slices.Contains(c.deed.elsewhere, key) {
				t.Errorf("line %d: %s\n  %s in a room %s made another room be told %s", c.deed.line, strings.Join(c.deed.steps, " > "), c.role, c.kind, key)
				asItIs[c.deed] = true
			}
		}
		if may {
			allowed[want] = c.deed.line
		} else if want != nothing {
			refused[want] = c.deed.line
		}
	}
	for _, d := range deeds {
		for _, key := range d.elsewhere {
			if !told[d][key] {
				t.Errorf("line %d: no other room is ever told %s", d.line, key)
			}
		}
		if asItIs[d] {
			t.Logf("as it is:\n%s", shown(d, cells))
		}
	}
	for key, line := range allowed {
		if at, both := refused[key]; both {
			t.Errorf("%s is said to who may (line %d) and to who may not (line %d)", key, line, at)
		}
	}
}

// shown writes a deed as the bot behaves, in the form of the table.
func shown(d *deed, cells []*cell) string {
	rooms := map[string][]string{}
	elsewhere := map[string]bool{}
	for _, kind := range roomKinds {
		var line string
		for _, c := range cells {
			if c.deed == d && c.kind == kind {
				got := c.got
				if got == d.yes {
					got = "yes"
				}
				line += fmt.Sprintf(" %-24s", got)
				for _, key := range c.elsewhere {
					elsewhere[key] = true
				}
			}
		}
		rooms[line] = append(rooms[line], kind)
	}
	most := ""
	for _, line := range slices.Sorted(maps.Keys(rooms)) {
		if len(rooms[line]) > len(rooms[most]) {
			most = line
		}
	}
	rooms[most] = []string{"*"}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", strings.Join(d.steps, " > "))
	for _, g := range d.given {
		fmt.Fprintf(&b, "  given %s\n", g)
	}
	fmt.Fprintf(&b, "  yes %s\n", d.yes)
	if len(elsewhere) > 0 {
		fmt.Fprintf(&b, "  elsewhere %s\n", strings.Join(slices.Sorted(maps.Keys(elsewhere)), " "))
	}
	for _, kind := range append([]string{"*"}, roomKinds...) {
		for line, kinds := range rooms {
			if kinds[0] == kind {
				b.WriteString(strings.TrimRight(fmt.Sprintf("  %-24s%s", strings.Join(kinds, ","), line), " ") + "\n")
			}
		}
	}
	return b.String()
}

// nothing is what who is not heard gets.
const nothing = "-"

// cell is one person in one room doing one thing, in a world of her own: two chapters with their rooms, and rooms without one.
type cell struct {
	deed      *deed
	kind      string
	role      string
	want      string
	number    int
	rooms     map[string]bot.RoomID
	steps     []string // given and own ones
	got       string
	elsewhere []string
}

// here is the room that the cell is about.
func (c *cell) here() string {
	switch c.kind {
	case "direct", "direct-clear":
		return "own"
	case "direct-away":
		return "own-clear"
	}
	return c.kind
}

func (c *cell) address(kind string) string {
	if strings.HasPrefix(kind, "direct") {
		return fmt.Sprintf("!@p%d", c.number)
	}
	return fmt.Sprintf("!%s%d", kind, c.number)
}

func (c *cell) person(name string) string { return fmt.Sprintf("@%s%d", name, c.number) }

// names puts this world's names into a text.
func (c *cell) names(text string) string {
	n := fmt.Sprint(" ", c.number)
	return strings.NewReplacer("Ours", "Ours"+n, "Theirs", "Theirs"+n, "Nobody", "Nobody"+n).Replace(text)
}

// settled is the table's engine with its network.
type settled struct {
	t     testing.TB
	e     *bot.Engine
	net   *rig.Network
	clock *rig.Clock
}

func (s *settled) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	if err := rig.Settle(ctx, s.e, s.clock, s.net); err != nil {
		s.t.Fatal(err)
	}
}

// playAll plays all cells side by side on one engine: each step of all, then the next.
func playAll(t *testing.T, cells []*cell) {
	s := onRig(t, bot.Limits{}, nil)
	net := s.net
	longest := 0
	for batch := range slices.Chunk(cells, 100) {
		s.do(func(tx *bot.Tx) error {
			for _, c := range batch {
				if err := c.setUp(tx, net, s.clock.Now()); err != nil {
					return fmt.Errorf("line %d, %s in %s: %w", c.deed.line, c.role, c.kind, err)
				}
			}
			return nil
		})
	}
	s.settle()
	s.do(func(tx *bot.Tx) error {
		for _, c := range cells {
			if err := c.place(tx, false); err != nil {
				return err
			}
			longest = max(longest, len(c.steps))
		}
		return nil
	})
	var last bot.RowID
	for i := range longest {
		if i == longest-1 {
			s.do(func(tx *bot.Tx) error {
				_, err := tx.One(`SELECT COALESCE(MAX(id), 0) FROM outbox`, nil, &last)
				if err != nil {
					return err
				}
				for _, c := range cells {
					if err := c.place(tx, true); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for _, c := range cells {
			if at := i - (longest - len(c.steps)); at >= 0 {
				if err := c.play(net, c.steps[at], at < len(c.steps)-len(c.deed.steps)); err != nil {
					t.Fatalf("line %d, %s in %s, %s: %v", c.deed.line, c.role, c.kind, c.steps[at], err)
				}
			}
		}
		s.settle()
	}
	s.do(func(tx *bot.Tx) error { return gather(tx, cells, last) })
}

func (s *settled) do(do func(*bot.Tx) error) {
	s.t.Helper()
	if err := s.e.Do(s.t.Context(), "a table is set", do); err != nil {
		s.t.Fatal(err)
	}
}

var givenFollow = regexp.MustCompile(`^(\S+) follows (Ours|Theirs)$`)

// setUp makes the rooms that the cell needs, as if they had been there for long.
func (c *cell) setUp(tx *bot.Tx, net *rig.Network, now time.Time) error {
	needed := map[string]bool{"own": true, "other": true, c.here(): true}
	for _, g := range c.deed.given {
		if room, _, _ := strings.Cut(g, " "); slices.Contains(roomKinds, room) {
			needed[room] = true
		}
	}
	c.rooms = map[string]bot.RoomID{}
	for _, kind := range roomKinds {
		if needed[kind] {
			if err := c.makeRoom(tx, net, kind, now); err != nil {
				return err
			}
		}
	}
	if kind := c.kind; kind != c.here() {
		r := rig.Room{ID: c.address(kind), Name: "p", Direct: true, Encrypted: kind != "direct-clear", Members: []rig.Member{{Person: c.person("p"), Name: "p"}}}
		if err := net.Create(r); err != nil {
			return err
		}
	}
	for _, g := range c.deed.given {
		m := givenFollow.FindStringSubmatch(g)
		if m == nil {
			c.steps = append(c.steps, g)
			continue
		}
		chapter, err := tx.ChapterNamed(c.names(m[2]))
		if err != nil || chapter == nil {
			return errors.Join(err, fmt.Errorf("no chapter %s", m[2]))
		}
		room := m[1]
		if room == "here" {
			room = c.here()
		}
		if err := tx.SetFollow(bot.Follow{Room: c.rooms[room], Chapter: chapter.ID, Active: true}); err != nil {
			return err
		}
	}
	for _, step := range c.deed.steps {
		c.steps = append(c.steps, c.kind+" p: "+step)
	}
	return nil
}

func (c *cell) makeRoom(tx *bot.Tx, net *rig.Network, kind string, now time.Time) error {
	members := []rig.Member{{Person: c.person("mo"), Name: "mo", Moderator: true}, {Person: c.person("bo"), Name: "bo", Moderator: true},
		{Person: c.person("al"), Name: "al"}}
	if kind == c.here() && (c.kind == kind || c.role != "outside") {
		members = append(members, rig.Member{Person: c.person("p"), Name: "p", Moderator: c.role == "moderator" || c.role == "unsigned"})
	}
	chapter := map[string]string{"own": "Ours", "own-clear": "Ours", "part": "Ours", "other": "Theirs", "other-clear": "Theirs"}[kind]
	h := rig.Home{Adapter: net.Name(), Lang: "en", Zone: "Europe/London", Since: now.Add(-90 * 24 * time.Hour), Chapter: c.names(chapter),
		Room: rig.Room{ID: c.address(kind), Name: kind, Encrypted: !strings.HasSuffix(kind, "-clear"), Members: members}}
	if err := h.SetUp(tx); err != nil {
		return err
	}
	room, err := tx.RoomAt(net.Name(), h.Room.ID)
	if err != nil {
		return err
	}
	c.rooms[kind] = room.ID
	if room.Speaks = kind != "part" && chapter != ""; room.Speaks {
		err = tx.SaveRoom(room)
	}
	return errors.Join(err, net.Create(h.Room))
}

// place puts the person where her role has her: who is outside is known to have left, since before her last deed at least.
func (c *cell) place(tx *bot.Tx, last bool) error {
	if c.role != "ignored" && c.role != "outside" || c.role == "outside" && (!last || c.kind != c.here()) {
		return nil
	}
	p, err := tx.Meet("matrix", c.person("p"), "p")
	if err != nil {
		return err
	}
	m, err := tx.Member(c.rooms[c.here()], p.ID)
	if err != nil || m == nil {
		return errors.Join(err, errors.New("the person is not in her room"))
	}
	if m.Ignored, m.Present = c.role == "ignored", c.role == "ignored"; !m.Present {
		m.Moderator = false
	}
	return tx.SaveMember(c.rooms[c.here()], *m)
}

var (
	step = regexp.MustCompile(`^(\S+) (\w+): (.*)$`)
	code = regexp.MustCompile(`\b[A-Z]-[0-9A-HJKMNP-TV-Z]{4,}\b`)
)

// play lets somebody do one thing: say a text, react, or reply.
func (c *cell) play(net *rig.Network, text string, given bool) error {
	m := step.FindStringSubmatch(text)
	if m == nil {
		return errors.New("not like `own mo: what she types`")
	}
	kind, who, text := m[1], c.person(m[2]), m[3]
	if kind == "here" {
		kind = c.here()
	}
	room := c.address(kind)
	// Of what is not encrypted nobody knows the device.
	unsigned := c.role == "unsigned" && !given && !strings.HasSuffix(kind, "-clear")
	if _, there := net.Member(room, who); !there {
		return nil // a stranger: she never did it
	}
	if strings.HasPrefix(text, "/") {
		_, err := net.Say(rig.Said{Room: room, Person: who, Text: c.filled(net, c.names(text)), Unsigned: unsigned})
		return err
	}
	reply, replies := strings.CutPrefix(text, "reply ")
	all := net.Messages(room)
	target, err := rig.Target(all, who, "", func(m rig.Message) bool { return len(net.Reactions(m.ID)) > 0 })
	if err != nil {
		return nil // the bot has said nothing: there is nothing to answer
	}
	if !replies {
		return net.React(room, who, target.ID, text, true)
	}
	_, err = net.Say(rig.Said{Room: room, Person: who, Text: reply, ReplyTo: target.ID, Thread: target.Thread, Unsigned: unsigned})
	return err
}

// filled puts the codes that the bot has shown in this world in the place of {N}, {A} and the like.
func (c *cell) filled(net *rig.Network, text string) string {
	if !strings.Contains(text, "{") {
		return text
	}
	for kind := range c.rooms {
		for _, m := range net.Messages(c.address(kind)) {
			for _, found := range code.FindAllString(m.Text, -1) {
				text = strings.ReplaceAll(text, "{"+found[:1]+"}", found)
			}
		}
	}
	return text
}

// gather notes what was said in each world after a row of the outbox.
func gather(tx *bot.Tx, cells []*cell, after bot.RowID) error {
	type place struct {
		cell *cell
		here bool
	}
	places := map[bot.RoomID]place{}
	for _, c := range cells {
		for kind, id := range c.rooms {
			places[id] = place{c, kind == c.kind}
		}
		if c.kind != c.here() {
			room, err := tx.RoomAt("matrix", c.address(c.kind))
			if err != nil || room == nil {
				return errors.Join(err, errors.New("a direct chat is not known"))
			}
			places[room.ID] = place{c, true}
		}
		c.got = nothing
	}
	return tx.Each(`SELECT id, room, key, data FROM outbox WHERE id > $1 AND kind IN ('message', 'edit') ORDER BY id`, []any{after}, func(row bot.Row) error {
		var id bot.RowID
		var room bot.RoomID
		var key string
		var sealed []byte
		if err := row.Scan(&id, &room, &key, &sealed); err != nil {
			return err
		}
		said, err := innermost(tx, id, key, sealed)
		at, ok := places[room]
		switch {
		case err != nil || !ok:
			return errors.Join(err, fmt.Errorf("row %d is in no room of the table: %v", id, room))
		case !at.here:
			at.cell.elsewhere = append(at.cell.elsewhere, said)
		case at.cell.got == nothing:
			at.cell.got = said
		case !strings.HasSuffix(at.cell.got, said): // counters say the same again
			at.cell.got += "+" + said
		}
		return nil
	})
}

// innermost is the key of a message, or of what it wraps: the question that a dialogue asks, what was wrong, what is said about a room.
func innermost(tx *bot.Tx, id bot.RowID, key string, sealed []byte) (string, error) {
	field := map[string]string{"bot.question": "Ask", "bot.wrong": "What", "room.about": "Message"}[key]
	if field == "" || sealed == nil {
		return key, nil
	}
	text, err := tx.Open("outbox", "data", id, sealed)
	if err != nil {
		return "", err
	}
	var parcel struct {
		Data map[string]json.RawMessage `json:"d"`
	}
	var inner struct {
		Type string `json:"$"`
	}
	if err := json.Unmarshal([]byte(text), &parcel); err != nil {
		return "", err
	}
	if err := json.Unmarshal(parcel.Data[field], &inner); err != nil {
		return "", err
	}
	return inner.Type, nil
}
