package bot

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"starling/locales/markup"
)

// A dialogue left alone this long is over; so is a person's oldest in a room when she has more open than that.
const (
	dialogueLife = 48 * time.Hour
	maxDialogues = 8
)

const (
	topicDialogue = "dialogue"
	stepReview    = "\x00review"
)

// dialogue is a Dialogue under way with one person in one place. It is stored sealed, whole, after each answer.
type dialogue struct {
	ID      int64             `json:"-"`
	Kind    string            `json:"-"`
	Room    RoomID            `json:"-"` // where it is held
	About   RoomID            `json:"about"`
	Person  PersonID          `json:"-"`
	Thread  string            `json:"thread,omitempty"`  // network id of the thread's root
	Command string            `json:"command,omitempty"` // network id of the message that began it
	Lang    string            `json:"lang"`
	At      string            `json:"at"` // the field that is asked, or stepReview
	Draft   Draft             `json:"draft"`
	From    map[string]string `json:"from"`             // field → network id of the answer
	Edited  map[string]string `json:"edited,omitempty"` // and of its last edit: some networks' next edit names that
	Skipped map[string]bool   `json:"skipped,omitempty"`
	Single  bool              `json:"single,omitempty"` // one field is being changed from the review
	Asked   RowID             `json:"asked"`            // the last question
}

// Start begins a dialogue; what is already known is not asked again. Questions go into a thread where the network has them.
func (t *Turn) Start(name string, known Draft) error {
	if _, ok := t.e.dialogues[name]; !ok {
		return fmt.Errorf("no dialogue %s", name)
	}
	d := &dialogue{ID: nextID[int64](t.Tx, "dialogues"), Kind: name, Room: t.Here.ID, About: t.Room.ID, Person: t.Person.ID, Lang: t.Lang,
		Draft: known, From: map[string]string{}, Skipped: map[string]bool{}}
	if d.Draft == nil {
		d.Draft = Draft{}
	}
	if t.In != nil {
		d.Command = t.In.ID
		if t.In.Kind == KindReactionOn {
			d.Command = t.In.Target
		}
		if !t.Here.Direct {
			d.Thread = cmp.Or(t.In.Thread, t.thread, d.Command)
		}
	}
	if a := t.e.adapters[t.Here.Adapter]; a != nil && !a.Abilities().Threads {
		d.Thread = ""
	}
	// One dialogue at a time in one place: a new one replaces what was left open there.
	if err := t.Exec(`DELETE FROM dialogues WHERE room = $1 AND person = $2 AND thread = $3`, d.Room, d.Person, t.Hash("thread", d.Thread)); err != nil {
		return err
	}
	if err := t.Exec(`INSERT INTO dialogues (id, kind, room, thread, person, state, at, expires) VALUES ($1,$2,$3,$4,$5,$6,$7,$8)`,
		d.ID, d.Kind, d.Room, t.Hash("thread", d.Thread), d.Person, t.Seal("dialogues", "state", d.ID, "{}"), t.now.UnixMilli(), t.Here.last(t.now, t.now.Add(dialogueLife)).UnixMilli()); err != nil {
		return err
	}
	if err := t.Exec(`DELETE FROM dialogues WHERE room = $1 AND person = $2 AND id NOT IN (SELECT id FROM dialogues WHERE room = $1 AND person = $2 ORDER BY id DESC LIMIT $3)`,
		d.Room, d.Person, maxDialogues); err != nil {
		return err
	}
	return t.next(d, nil)
}

// saveDialogue writes a dialogue back.
func (tx *Tx) saveDialogue(d *dialogue) error {
	state, err := json.Marshal(d)
	if err != nil {
		return err
	}
	room, err := tx.Room(d.Room)
	if err != nil {
		return err
	}
	until := room.last(tx.now, tx.now.Add(dialogueLife))
	if err := tx.sweepAt(until); err != nil {
		return err
	}
	return tx.Exec(`UPDATE dialogues SET state = $1, expires = $2 WHERE id = $3`, tx.Seal("dialogues", "state", d.ID, string(state)), until.UnixMilli(), d.ID)
}

func (tx *Tx) endDialogue(d *dialogue) error {
	return tx.Exec(`DELETE FROM dialogues WHERE id = $1`, d.ID)
}

// dialoguesOf lists a person's open dialogues in a room, oldest first.
func (tx *Tx) dialoguesOf(room RoomID, person PersonID) ([]*dialogue, error) {
	var all []*dialogue
	err := tx.Each(`SELECT id, kind, state FROM dialogues WHERE room = $1 AND person = $2 AND expires > $3 ORDER BY id`, []any{room, person, tx.now.UnixMilli()}, func(row Row) error {
		d := &dialogue{Room: room, Person: person}
		var sealed []byte
		if err := row.Scan(&d.ID, &d.Kind, &sealed); err != nil {
			return err
		}
		state, err := tx.Open("dialogues", "state", d.ID, sealed)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(state), d); err != nil {
			return err
		}
		if _, ok := tx.e.dialogues[d.Kind]; ok { // else of a capability that is gone
			all = append(all, d)
		}
		return nil
	})
	return all, err
}

// gaveIn says which field a message answered.
func (d *dialogue) gaveIn(message string) string {
	for _, gave := range []map[string]string{d.From, d.Edited} {
		for field, id := range gave {
			if id == message && id != "" {
				return field
			}
		}
	}
	return ""
}

// enter makes a turn one about this dialogue's room, in its language and thread.
func (t *Turn) enter(d *dialogue) error {
	if t.Here.Lang == "" || t.Here.Direct {
		t.Lang = d.Lang
	}
	t.thread = d.Thread
	t.lane = fmt.Sprintf("dialogue %d", d.ID)
	t.dialogue, t.answers = d.ID, max(t.answers, d.Asked)
	t.refusal = []PostOption{Topic(topicDialogue, fmt.Sprint(d.ID))} // a reply to it is an answer
	if d.About != t.Here.ID && d.Kind != whichRoom.Name {
		r, err := t.Tx.Room(d.About)
		if err != nil {
			return err
		}
		if err := t.about(r); err != nil {
			return err
		}
		if t.Member == nil || !t.Member.Present || t.Member.Ignored || !r.Joined {
			return errNotMember
		}
	}
	return nil
}

// errNotMember says that a person is no longer in the room that her dialogue is about.
var errNotMember = errors.New("not in the room that it is about")

// leaveRoom ends the dialogue of a person who is no longer in the room that it is about.
func (t *Turn) leaveRoom(d *dialogue) error {
	if err := t.endDialogue(d); err != nil {
		return err
	}
	return t.Done(Stranger{})
}

// bare is whether a text outside thread and reply can only be an answer: a number or word of the open choice, back,
// skip, cancel, yes or no.
func (tx *Tx) bare(d *dialogue, text string) (bool, error) {
	w := tx.e.words
	f := strings.TrimRight(markup.FoldWord(text), ".!?")
	if len(f) > 60 {
		return false, nil
	}
	if w.back[f] || w.skip[f] || w.cancel[f] {
		return true, nil
	}
	n, numberErr := strconv.Atoi(markup.Digits(f))
	if d.At == stepReview {
		button := strings.TrimSuffix(strings.TrimSpace(text), "\uFE0F")
		return w.yes[f] || w.no[f] || button == "✅" || button == "❌" || numberErr == nil && n > 0, nil
	}
	t, steps, err := tx.stepsOf(d)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(steps, func(s Step) bool { return s.Field == d.At })
	if i < 0 || len(steps[i].Choices) == 0 {
		return false, nil
	}
	_, ok := t.option(steps[i], text)
	return ok, nil
}

// stepsOf asks a dialogue for its steps outside of an answer.
func (tx *Tx) stepsOf(d *dialogue) (*Turn, []Step, error) {
	here, err := tx.Room(d.Room)
	if err != nil {
		return nil, nil, err
	}
	person, err := tx.Person(d.Person)
	if err != nil || person == nil {
		return nil, nil, err
	}
	t, err := tx.turn(&Incoming{Adapter: here.Adapter, Room: here.Address}, here, person, d.Lang)
	if err != nil {
		return nil, nil, err
	}
	if err := t.enter(d); err != nil {
		return nil, nil, err
	}
	return t, tx.e.dialogues[d.Kind].Steps(t, d.Draft), nil
}

// option finds the choice that a text names: by number, word or label.
func (t *Turn) option(s Step, text string) (string, bool) {
	f := strings.TrimRight(markup.FoldWord(text), ".!?")
	if emoji := markup.Reaction(text); len(emoji) == 1 {
		f = emoji
	}
	if n, err := strconv.Atoi(markup.Digits(f)); err == nil {
		if n >= 1 && n <= len(s.Choices) {
			return s.Choices[n-1].Value, true
		}
		return "", false
	}
	for _, o := range s.Choices {
		if o.Words != "" {
			for _, words := range t.Locales().Words(o.Words) {
				if slices.ContainsFunc(words, func(w string) bool { return markup.FoldWord(w) == f }) {
					return o.Value, true
				}
			}
		}
		label, err := t.Render(o.Label)
		if err == nil && markup.FoldWord(markup.Plain(markup.Parse(label))) == f && f != "" {
			return o.Value, true
		}
	}
	return "", false
}

// shortNumber is whether a text is a number as those of choices are: where it is none of them, it is a slip and no answer in
// words. A telephone number is longer.
func shortNumber(s string) bool {
	_, err := strconv.Atoi(markup.Digits(s))
	return err == nil && utf8.RuneCountInString(s) <= 2
}

// Render gives a message as it reads in this turn's language; for comparing, never for storing.
func (t *Turn) Render(msg any) (string, error) {
	r := t.e.reader(t.Here, t.Lang, t.now)
	r.Lang, r.Zone = t.Lang, t.Zone()
	return t.e.cfg.Locales.Render(r, msg)
}

// dialogueReaction takes a reaction on something that the bot said in a dialogue. On an earlier question it only counts where it
// cannot be meant for another thing than what is asked now: what is confirmed is what the last review showed.
func (t *Turn) dialogueReaction(d *dialogue, row RowID, in *Incoming) error {
	emoji := markup.Reaction(in.Text)
	if row >= d.Asked || emoji == "❌" {
		return t.dialogueAnswer(d, in)
	}
	if emoji != "✅" || d.At != stepReview {
		return nil
	}
	if err := t.enter(d); err != nil {
		return err
	}
	return t.again(d, nil)
}

// dialogueAnswer takes one answer.
func (t *Turn) dialogueAnswer(d *dialogue, in *Incoming) error {
	if err := t.enter(d); errors.Is(err, errNotMember) {
		return t.leaveRoom(d)
	} else if err != nil {
		return err
	}
	if in.Kind == KindText && strings.TrimSpace(in.Text) == "" {
		if len(in.Files) > 0 {
			return Refuse(TextOnly{})
		}
		return Refuse(Empty{})
	}
	a := t.e.words.answer(in)
	f := strings.TrimRight(markup.FoldWord(in.Text), ".!?")
	form := t.e.dialogues[d.Kind]
	steps := form.Steps(t, d.Draft)
	w := t.e.words
	if a.Typed && w.cancel[f] || a.Emoji == "❌" && !a.Typed {
		return t.leave(d)
	}
	if d.At == stepReview {
		return t.review(d, form, steps, a, f, in)
	}
	i := slices.IndexFunc(steps, func(s Step) bool { return s.Field == d.At })
	if i < 0 {
		return t.next(d, nil)
	}
	s := steps[i]
	if v, ok := t.option(s, in.Text); ok {
		return t.take(d, s, v, in.ID)
	}
	switch {
	case a.Typed && w.back[f]:
		return t.goBack(d, steps, i)
	case a.Typed && w.skip[f]:
		if !s.Optional {
			return t.again(d, CannotSkip{})
		}
		if d.Skipped == nil {
			d.Skipped = map[string]bool{}
		}
		d.Skipped[s.Field] = true
		delete(d.Draft, s.Field)
		delete(d.From, s.Field)
		d.Single = false
		return t.next(d, nil)
	case !a.Typed:
		if n := markup.Reaction(in.Text); len(n) == 1 {
			return t.again(d, PickOne{Last: len(s.Choices)})
		}
		return nil // some other reaction: people may like a question
	case len(s.Choices) > 0 && (s.Parse == nil || shortNumber(f)):
		return t.again(d, PickOne{Last: len(s.Choices)})
	}
	v := in.Text
	if s.Parse != nil {
		var err error
		v, err = s.Parse(t, in.Text)
		if errors.Is(err, ErrUnsettled) {
			return t.again(d, nil)
		}
		if err != nil {
			return err
		}
	}
	return t.take(d, s, v, in.ID)
}

// take keeps an answer and goes on.
func (t *Turn) take(d *dialogue, s Step, value, message string) error {
	d.Draft[s.Field] = value
	d.From[s.Field] = message
	delete(d.Edited, s.Field)
	delete(d.Skipped, s.Field)
	d.Single = false
	if s.Then != nil {
		if err := s.Then(t, value); err != nil {
			return err
		}
	}
	return t.next(d, nil)
}

// changeAnswer takes the edit of an earlier answer: it counts, and what was shown because of it is edited.
func (t *Turn) changeAnswer(d *dialogue, field, text string) error {
	if err := t.enter(d); errors.Is(err, errNotMember) {
		return t.leaveRoom(d)
	} else if err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" {
		return Refuse(Empty{})
	}
	shown, _, err := t.question(d, nil)
	if err != nil {
		return err
	}
	for _, s := range t.e.dialogues[d.Kind].Steps(t, d.Draft) {
		if s.Field != field {
			continue
		}
		v, ok := t.option(s, text)
		switch {
		case ok:
		case len(s.Choices) > 0 && (s.Parse == nil || shortNumber(markup.FoldWord(text))):
			return Refuse(PickOne{Last: len(s.Choices)})
		case s.Parse != nil:
			var err error
			v, err = s.Parse(t, text)
			if errors.Is(err, ErrUnsettled) {
				delete(d.Draft, field)
				return t.next(d, nil)
			}
			if err != nil {
				return err
			}
		default:
			v = text
		}
		d.Draft[field] = v
		if s.Then != nil {
			if err := s.Then(t, v); err != nil {
				return err
			}
		}
		q, at, err := t.question(d, nil)
		if err != nil || q == nil {
			return err
		}
		if at != d.At {
			return t.next(d, nil)
		}
		if err := t.saveDialogue(d); err != nil || reflect.DeepEqual(q, shown) {
			return err // an edit that changes nothing is noise
		}
		return t.Edit(d.Asked, *q)
	}
	return nil
}

func (t *Turn) leave(d *dialogue) error {
	if err := t.endDialogue(d); err != nil {
		return err
	}
	return t.Done(Left{})
}

// goBack asks the question before this one again.
func (t *Turn) goBack(d *dialogue, steps []Step, i int) error {
	if d.Single { // it came from the review
		d.Single = false
		return t.next(d, nil)
	}
	for i--; i >= 0; i-- {
		s := steps[i]
		if _, asked := d.From[s.Field]; asked || d.Skipped[s.Field] {
			delete(d.Draft, s.Field)
			delete(d.Skipped, s.Field)
			delete(d.From, s.Field)
			return t.next(d, nil)
		}
	}
	return t.again(d, FirstStep{})
}

// review takes an answer to the whole: yes, no, back, or the number of a line to change.
func (t *Turn) review(d *dialogue, form Dialogue, steps []Step, a Answer, f string, in *Incoming) error {
	switch {
	case a.No:
		return t.leave(d)
	case a.Yes && !a.Typed && t.Room.ConfirmByWord():
		return Refuse(TypeYes{})
	case a.Yes:
		if form.MayConfirm != nil {
			if err := form.MayConfirm(t, d.Draft); err != nil {
				return err
			}
		}
		if err := t.endDialogue(d); err != nil {
			return err
		}
		return t.finish(d, form)
	case a.Typed && t.e.words.back[f]:
		return t.goBack(d, steps, len(steps))
	}
	n, err := strconv.Atoi(markup.Digits(strings.TrimSpace(markup.Reaction(in.Text))))
	if err == nil && n >= 1 && n <= len(steps) {
		return t.change(d, steps[n-1])
	}
	if !a.Typed {
		return nil
	}
	return t.again(d, PickOne{Last: len(steps)})
}

// change asks one question again; its answer leads back to the review.
func (t *Turn) change(d *dialogue, s Step) error {
	d.Single = true
	d.At = s.Field
	return t.ask(d, s, nil)
}

// finish does what the dialogue was for. In a thread the room sees the end in the room itself.
func (t *Turn) finish(d *dialogue, form Dialogue) error {
	reply := t.reply
	if d.Thread != "" {
		t.thread = ""
		t.reply = d.Command
	}
	t.origin = d.Command
	effect := form.Effect
	if form.Review != nil {
		effect = max(effect, Changes)
	}
	err := t.May(effect)
	if err == nil {
		err = form.Done(t, d.Draft)
	}
	if err != nil { // the dialogue stays open, and why is said in it
		t.thread, t.reply = d.Thread, reply
	}
	return err
}

// next asks the first question that has no answer yet, shows the review, or finishes.
func (t *Turn) next(d *dialogue, before any) error {
	q, at, err := t.question(d, before)
	if err != nil {
		return err
	}
	if q == nil {
		if err := t.endDialogue(d); err != nil {
			return err
		}
		return t.finish(d, t.e.dialogues[d.Kind])
	}
	d.At = at
	return t.put(d, *q)
}

// question makes the question that comes next; nil when there is none left and no review.
func (t *Turn) question(d *dialogue, before any) (q *Question, at string, err error) {
	form := t.e.dialogues[d.Kind]
	steps := form.Steps(t, d.Draft)
	for i, s := range steps {
		_, has := d.Draft[s.Field]
		if has && !(d.Single && d.At == s.Field) || d.Skipped[s.Field] && !(d.Single && d.At == s.Field) {
			continue
		}
		return t.form(d, steps, i, before), s.Field, nil
	}
	if form.Review == nil {
		return nil, "", nil
	}
	return &Question{Before: before, Ask: form.Review(t, d.Draft), Review: true, Of: len(steps), Word: t.Room.ConfirmByWord()}, stepReview, nil
}

// form dresses a step as people see it.
func (t *Turn) form(d *dialogue, steps []Step, i int, before any) *Question {
	s := steps[i]
	if before == nil {
		before = s.Before
	}
	// That one can go back is said once, at the first question where it is so.
	given := len(d.From) + len(d.Skipped)
	q := &Question{Before: before, Ask: s.Ask, Hint: s.Hint, Step: i + 1, Of: len(steps), Skip: s.Optional, First: given == 0, Back: given == 1,
		Quote: d.Thread == "" && !t.Here.Direct}
	if len(steps) == 1 {
		q.Of = 0
	}
	for n, o := range s.Choices {
		q.Choices = append(q.Choices, Numbered{Number: n + 1, Label: o.Label})
	}
	return q
}

func (t *Turn) ask(d *dialogue, s Step, before any) error {
	steps := t.e.dialogues[d.Kind].Steps(t, d.Draft)
	i := slices.IndexFunc(steps, func(o Step) bool { return o.Field == s.Field })
	return t.put(d, *t.form(d, steps, i, before))
}

// again repeats the open question after a word about what was wrong.
func (t *Turn) again(d *dialogue, before any) error {
	form := t.e.dialogues[d.Kind]
	steps := form.Steps(t, d.Draft)
	if i := slices.IndexFunc(steps, func(s Step) bool { return s.Field == d.At }); i >= 0 {
		return t.put(d, *t.form(d, steps, i, before))
	}
	return t.next(d, before)
}

// put posts a question and remembers it.
func (t *Turn) put(d *dialogue, q Question) error {
	opts := []PostOption{Topic(topicDialogue, fmt.Sprint(d.ID))}
	if q.Review && !q.Word {
		opts = append(opts, Buttons("✅", "❌"))
	}
	t.thread = d.Thread
	row, err := t.Answer(q, opts...)
	if err != nil {
		return err
	}
	d.Asked = row
	return t.saveDialogue(d)
}
